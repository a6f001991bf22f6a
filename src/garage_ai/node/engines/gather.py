"""Make one plain answer of a stream, for an engine that can only be stopped while it streams. Pure.

llama.cpp looks whether its client is still there when it writes, and else only after a second in
which no request at all has produced a token (`recv_with_timeout` in tools/server/server-queue.cpp):
a plain request of a client that left would keep its slot to the end. Streamed, the slot is free
within one token.
"""

from typing import Any, Final

import msgspec

from garage_ai.node.engines.tally import Tally
from garage_ai.node.errors import EngineProtocol
from garage_ai.node.speeds import Pace
from garage_ai.node.sse import EventCutter, says_done
from garage_ai.wire.frames import Route

MAX_GATHERED: Final = 64 * 1024 * 1024
_events: Final = msgspec.json.Decoder(dict[str, Any])
_encoder: Final = msgspec.json.Encoder()
_UNDECODABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
_WHOLE: Final = {"chat.completion.chunk": "chat.completion"}
_REPLACED: Final = frozenset({"role", "id", "type", "name"})
"""Texts that are said whole, not piece by piece."""


class Gatherer:
    """Take a stream's bytes, give the answer that would have come without `stream`.

    `choices` were asked for each prompt.
    """

    def __init__(self, route: Route, choices: int = 1) -> None:
        self._key = "message" if route == "chat" else "text"
        self._cutter = EventCutter()
        self._top: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._tally = Tally(choices)
        self._size = 0
        self.error: bytes | None = None
        self.pace = Pace()

    def feed(self, chunk: bytes, now: float) -> None:
        """Take what the engine sent, at a time in seconds. Raises: EngineProtocol."""
        self._size += len(chunk)
        if self._size > MAX_GATHERED:
            raise EngineProtocol("the engine's answer is far too long")
        events = self._cutter.feed(chunk)
        self.pace.read(events, now, last=says_done(events))
        for line in events.split(b"\n"):
            if line.startswith(b"data: {"):
                self._event(line[6:])
            elif line.startswith(b"error: {"):
                self.error = line[7:]

    def whole(self) -> bytes:
        """Give the answer as JSON. Raises: EngineProtocol when the stream did not end."""
        choices = [self._choices[index] for index in sorted(self._choices)]
        if not choices or any(choice.get("finish_reason") is None for choice in choices):
            raise EngineProtocol("the engine's stream ends before its answer does")
        top = self._top
        usage = self._tally.total()
        if usage is not None:
            top["usage"] = usage
        top["object"] = _WHOLE.get(top.get("object", ""), top.get("object"))
        return _encoder.encode({"choices": choices} | top)

    def _event(self, payload: bytes) -> None:
        try:
            event = _events.decode(payload)
            if event.get("error") is not None:
                self.error = payload
                return
            self._tally.add(event.pop("usage", None))
            for choice in event.pop("choices", ()):
                self._choice(choice)
        except (*_UNDECODABLE, TypeError, AttributeError, KeyError) as error:
            raise EngineProtocol(f"an event that cannot be read: {str(error)[:100]}") from error
        self._top |= event

    def _choice(self, choice: dict[str, Any]) -> None:
        kept = self._choices.setdefault(int(choice["index"]), {"index": choice["index"]})
        delta = choice.pop("delta", None)
        if delta is not None:
            choice[self._key] = delta
        del choice["index"]
        _merge(kept, choice)


def _merge(kept: dict[str, Any], more: dict[str, Any]) -> None:
    """Add what an event says to what was said before."""
    for key, value in more.items():
        before = kept.get(key)
        if value is None:
            kept.setdefault(key, None)
        elif isinstance(before, str) and isinstance(value, str) and key not in _REPLACED:
            kept[key] = before + value
        elif isinstance(before, dict) and isinstance(value, dict):
            _merge(before, value)
        elif isinstance(value, list) and key == "tool_calls":
            kept[key] = _merge_calls(before or [], value)
        elif isinstance(before, list) and isinstance(value, list):
            before.extend(value)
        else:
            kept[key] = value


def _merge_calls(kept: list[dict[str, Any]], more: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add pieces of tool calls, each to the call of its index; a plain answer has no index."""
    for piece in more:
        index = piece.pop("index", len(kept))
        if index < len(kept):
            _merge(kept[index], piece)
        else:
            kept.append(piece)
    return kept


__all__ = ["Gatherer"]
