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
from garage_ai.wire.whole import ODD, Whole

MAX_GATHERED: Final = 64 * 1024 * 1024
_events: Final = msgspec.json.Decoder(dict[str, Any])
_encoder: Final = msgspec.json.Encoder()
_UNDECODABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


class Gatherer:
    """Take a stream's bytes, give the answer that would have come without `stream`.

    `choices` were asked for each prompt.
    """

    def __init__(self, route: Route, choices: int = 1) -> None:
        self._whole = Whole(chat=route == "chat")
        self._cutter = EventCutter()
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
        if not self._whole.finished:
            raise EngineProtocol("the engine's stream ends before its answer does")
        usage = self._tally.total()
        return _encoder.encode(self._whole.answer() | ({"usage": usage} if usage else {}))

    def _event(self, payload: bytes) -> None:
        try:
            event = _events.decode(payload)
            if event.get("error") is not None:
                self.error = payload
                return
            self._tally.add(event.pop("usage", None))
            self._whole.add(event)
        except (*_UNDECODABLE, *ODD) as error:
            raise EngineProtocol(f"an event that cannot be read: {str(error)[:100]}") from error


__all__ = ["Gatherer"]
