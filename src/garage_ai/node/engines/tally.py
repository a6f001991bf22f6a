"""What several choices or prompts used, said once. Pure.

llama.cpp counts each choice by itself and says so by itself: the prompt's tokens again each time,
in an event of its own (chat) or beside the choice's last words (completions). An OpenAI server says
once what the whole request used. Each prompt has `choices` choices, so it is counted that often.
"""

from typing import Any, Final

import msgspec

from garage_ai.node.errors import EngineProtocol

MAX_EVENT: Final = 1 << 20
_DONE: Final = b"data: [DONE]"
_NOTHING: Final = (b"", b"data: null")
"""llama.cpp begins the stream of several prompts with a null, which is no event of the API."""

_PROMPT: Final = ("prompt_tokens", "prompt_tokens_details")
_events: Final = msgspec.json.Decoder(dict[str, Any])
_encoder: Final = msgspec.json.Encoder()
_UNDECODABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


class Tally:
    """The sum of what was said to be used, with `choices` for each prompt."""

    def __init__(self, choices: int) -> None:
        self._choices = choices
        self._sum: dict[str, Any] = {}

    def add(self, usage: object) -> None:
        """Take the usage of one choice, or whatever stands in its place."""
        if isinstance(usage, dict):
            _add(self._sum, usage)

    def total(self) -> dict[str, Any] | None:
        """Give the usage of the whole request; None when nothing was said."""
        if not self._sum:
            return None
        total = dict(self._sum)
        total |= {name: _share(total[name], self._choices) for name in _PROMPT if name in total}
        prompt, completion = total.get("prompt_tokens"), total.get("completion_tokens")
        if isinstance(prompt, int) and isinstance(completion, int):
            total["total_tokens"] = prompt + completion
        return total


class OneUsage:
    """Take a stream's bytes, give them with one event of usage before `[DONE]`."""

    def __init__(self, choices: int) -> None:
        self._tally = Tally(choices)
        self._held = b""
        self._like: dict[str, Any] = {}

    def feed(self, chunk: bytes) -> bytes:
        """Take what the engine sent and give the whole events that go on.

        Raises: EngineProtocol.
        """
        *events, self._held = (self._held + chunk).split(b"\n\n")
        if len(self._held) > MAX_EVENT:
            raise EngineProtocol("an event of the engine is far too long")
        return b"".join(map(self._event, events))

    def rest(self) -> bytes:
        """Give what is left at the end of the stream."""
        rest, self._held = self._total() + self._held, b""
        return rest

    def _event(self, event: bytes) -> bytes:
        if event in _NOTHING:
            return b""
        if event == _DONE:
            return self._total() + event + b"\n\n"
        if not event.startswith(b"data: {") or b'"usage"' not in event:
            return event + b"\n\n"
        return self._without_usage(event[6:])

    def _without_usage(self, payload: bytes) -> bytes:
        try:
            told = _events.decode(payload)
        except _UNDECODABLE as error:
            raise EngineProtocol(f"an event that cannot be read: {str(error)[:100]}") from error
        self._tally.add(told.pop("usage", None))
        self._like = told
        return _written(told) if told.get("choices") else b""

    def _total(self) -> bytes:
        total = self._tally.total()
        if total is None:
            return b""
        self._tally = Tally(1)
        return _written(self._like | {"choices": [], "usage": total})


def _written(event: dict[str, Any]) -> bytes:
    return b"data: " + _encoder.encode(event) + b"\n\n"


def _add(kept: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        before = kept.get(key)
        if isinstance(value, dict):
            _add(kept.setdefault(key, {}), value)
        elif isinstance(value, int) and isinstance(before, int):
            kept[key] = before + value
        else:
            kept[key] = value


def _share(value: object, choices: int) -> object:
    if isinstance(value, dict):
        return {key: _share(part, choices) for key, part in value.items()}
    return value // choices if isinstance(value, int) else value


__all__ = ["OneUsage", "Tally"]
