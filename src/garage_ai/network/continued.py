"""Reading the part of a node that goes on where another was lost: one stream to the client. Pure.

Its events get the first part's id, moment and model; the role is not said again; usage is that of
the whole. A stop string may have begun in the text of the node before: no engine can see that, so
events are held back here while they may complete one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from garage_ai.network.complaint import UNDECODABLE
from garage_ai.network.errors import BadNodeReply
from garage_ai.network.events import ABSENT, Usage
from garage_ai.network.replies import StreamReader, objects
from garage_ai.wire.frames import Route

IDENTITY: Final = ("id", "created", "model")
MAX_IDENTITY: Final = 1024
"""Bytes of each: it stands in every event of the nodes that go on, whatever the first one wrote."""

_encoder: Final = msgspec.json.Encoder()
_choices: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])

Identity = Mapping[str, msgspec.Raw]


def identity_of(event: bytes) -> Identity:
    """Give what all events of a stream have in common, as its first one has it, within bounds."""
    try:
        parts = objects.decode(event.removeprefix(b"data: "))
    except UNDECODABLE:
        return {}
    found = {name: parts[name] for name in IDENTITY if name in parts}
    return {name: raw for name, raw in found.items() if len(memoryview(raw)) <= MAX_IDENTITY}


def remainders(stops: Sequence[str], text: str) -> tuple[str, ...]:
    """Give what must follow `text` to complete a stop string that began at its end."""
    return tuple(
        stop[size:] for stop in stops for size in range(1, len(stop)) if text.endswith(stop[:size])
    )


def last_events(identity: Identity, route: Route, reason: str, usage: Usage | None) -> bytes:
    """Write the end of an answer that no engine will finish; usage only where it is known."""
    empty: dict[str, object] = {"delta": {}} if route == "chat" else {"text": ""}
    kind = "chat.completion.chunk" if route == "chat" else "text_completion"
    head: dict[str, object] = {**identity, "object": kind}
    choice = {"index": 0, **empty, "finish_reason": reason}
    events = [{**head, "choices": [choice]}]
    if usage is not None:
        events.append({**head, "choices": [], "usage": _written(usage)})
    return b"\n\n".join(b"data: " + _encoder.encode(event) for event in events)


@dataclass(frozen=True, slots=True)
class Before:
    """What came before this part: tokens said, and the prompt's where an engine told them."""

    identity: Identity
    said: int
    prompt_tokens: int | None = None
    stops: tuple[str, ...] = ()

    def sum(self, usage: Usage) -> Usage:
        """Give the usage of the whole answer from that of this part.

        To this engine the text so far was prompt. Each token counts once: as said, not as asked.
        """
        prompt, said = self.prompt_tokens, usage.completion_tokens
        if prompt is None and usage.prompt_tokens is not None:
            prompt = max(0, usage.prompt_tokens - self.said)
        return Usage(prompt, None if said is None else said + self.said)


class ContinuedReader(StreamReader):
    """Read the events of a part that goes on; `before` is what it goes on from."""

    route: Route = "chat"
    before: Before = msgspec.field(default_factory=lambda: Before({}, 0))
    _held: list[bytes] = msgspec.field(default_factory=list)
    _held_text: list[str] = msgspec.field(default_factory=list)
    _stops: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Begin with the stop strings that may be under way."""
        self._stops = self.before.stops

    def _read_at_once(self, data: bytes) -> int:  # noqa: ARG002 - each of them is written anew
        return 0

    def _event(self, event: bytes) -> bytes:
        if self.whole:
            return b""
        known = len(self.text)
        passed = super()._event(event)
        if passed:
            passed = self._rewritten(passed)
        return self._watched(passed, known) if self._stops else passed

    def _rewritten(self, event: bytes) -> bytes:
        """Give the event as one of the first part's stream; empty when nothing is left of it.

        Raises: BadNodeReply.
        """
        try:
            parts: dict[str, object] = dict(objects.decode(event.removeprefix(b"data: ")))
            for name in IDENTITY:
                parts.pop(name, None)
            if self.seen.usage is not None and _says(parts.get("usage")):
                parts["usage"] = _written(self.before.sum(self.seen.usage))
            if b'"role"' in event and not self._drop_role(parts):
                return b""
            return b"data: " + _encoder.encode({**self.before.identity, **parts})
        except UNDECODABLE as error:
            raise BadNodeReply(f"an event that cannot be read: {str(error)[:100]}") from error

    def _drop_role(self, parts: dict[str, object]) -> bool:
        """Take the role out; tell whether the event still says anything."""
        choices: list[dict[str, object]] = []
        telling = _says(parts.get("usage"))
        for choice in _choices.decode(_choices_of(parts)):
            told = _says(choice.get("delta"))
            delta = objects.decode(choice["delta"]) if told else {}
            delta.pop("role", None)
            telling |= any(map(_says, delta.values())) or _says(choice.get("finish_reason"))
            choices.append({**choice, "delta": delta})
        parts["choices"] = choices
        return telling

    def _watched(self, event: bytes, known: int) -> bytes:
        """Hold events back while a stop string may be under way; end the answer at a whole one."""
        fresh = self.text[known:]
        del self.text[known:]
        self.seen.content_events -= len(fresh)
        self._held += [event] if event else []
        self._held_text += fresh
        said = "".join(self._held_text)
        if any(said.startswith(rest) for rest in self._stops):
            return self._stopped()
        self._stops = tuple(rest for rest in self._stops if rest.startswith(said))
        if self._stops and not self.seen.finished:
            return b""
        self._stops = ()
        self.text += self._held_text
        self.seen.content_events += len(self._held_text)
        return b"\n\n".join(self._held)

    def _stopped(self) -> bytes:
        self.whole = self.seen.finished = True
        self._rest = b""
        self._open.clear()
        self.seen.content_events += len(self._held_text)
        usage = None
        if self.include_usage and self.before.prompt_tokens is not None:
            said = self.before.said + self.seen.content_events
            usage = Usage(self.before.prompt_tokens, said)
        return last_events(self.before.identity, self.route, "stop", usage)


def _choices_of(parts: Mapping[str, object]) -> msgspec.Raw:
    value = parts.get("choices")
    return value if isinstance(value, msgspec.Raw) else ABSENT


def _says(value: object) -> bool:
    """Tell whether a member of an event says anything."""
    if isinstance(value, msgspec.Raw):
        return bytes(value) not in (b"", b'""', b"null", b"[]")
    return value is not None


def _written(usage: Usage) -> dict[str, int | None]:
    prompt, said = usage.prompt_tokens, usage.completion_tokens
    total = None if prompt is None or said is None else prompt + said
    return {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": total}


__all__ = [
    "Before",
    "ContinuedReader",
    "Identity",
    "identity_of",
    "last_events",
    "remainders",
]
