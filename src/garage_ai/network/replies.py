"""Reading what a node says an engine said: hostile input, each event decoded once. Pure.

A streamed answer is server-sent events; their bytes go on unchanged, after a look at the few fields
that matter. Two things are taken out: the engine's `[DONE]` (the gateway writes its own when the
stream is whole) and usage the client did not ask for.
"""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final, Literal, Protocol

import msgspec

from garage_ai.network.errors import BadNodeReply
from garage_ai.wire.frames import Route

MAX_EVENT: Final = 1 << 20
"""Bytes of one event at most; the largest real ones hold logprobs of twenty tokens."""

DONE: Final = b"data: [DONE]\n\n"

Tokens = Annotated[int, msgspec.Meta(ge=0, le=1 << 31)]


class Usage(msgspec.Struct, frozen=True):
    """Tokens as the engine counted them; None where it did not say."""

    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None

    def beyond(self, before: "Usage | None") -> "Usage":
        """Give the greater of each count, this one's and an earlier one's.

        A server says once what was used, or again and again what was used so far (vLLM's
        `continuous_usage_stats`): counts only grow, and are never to be added up.
        """
        if before is None:
            return self
        return Usage(
            _greater(self.prompt_tokens, before.prompt_tokens),
            _greater(self.completion_tokens, before.completion_tokens),
        )


ABSENT: Final = msgspec.Raw()


class _Delta(msgspec.Struct, frozen=True, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: msgspec.Raw = ABSENT
    function_call: msgspec.Raw = ABSENT


class _Choice(msgspec.Struct, frozen=True, gc=False):
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Event(msgspec.Struct, frozen=True, gc=False):
    choices: list[_Choice] = []
    usage: Usage | msgspec.UnsetType | None = msgspec.UNSET
    error: msgspec.Raw = ABSENT


class _PlainChoice(msgspec.Struct, frozen=True):
    finish_reason: str | None = None


class _Plain(msgspec.Struct, frozen=True):
    choices: list[_PlainChoice] | None = None
    data: list[msgspec.Raw] | None = None
    usage: Usage | None = None
    error: msgspec.Raw = ABSENT


class _ErrorBody(msgspec.Struct, frozen=True):
    message: str = ""
    type: str | None = None
    code: str | int | None = None


class _ErrorEnvelope(msgspec.Struct, frozen=True):
    error: _ErrorBody | str | None = None
    message: str = ""


_LINES: Final = (b":", b"data", b"event", b"id", b"retry")
UNDECODABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
_events: Final = msgspec.json.Decoder(_Event)
_plain: Final = msgspec.json.Decoder(_Plain)
objects: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_errors: Final = msgspec.json.Decoder(_ErrorEnvelope)
_encoder: Final = msgspec.json.Encoder()


@dataclass(slots=True)
class Seen:
    """What the gateway itself saw of an answer; times are left to the caller."""

    content_events: int = 0
    bytes_out: int = 0
    usage: Usage | None = None
    finished: bool = False


class Reader(Protocol):
    """What turns data frames into bytes for the client."""

    gives_early: ClassVar[bool]
    """Whether content is given before the end, so that its first byte can be waited for."""
    seen: Seen
    salvaged: bytes
    """What a frame held before the fault for which `feed` raised; it may go to the client."""
    whole: bool
    """Whether the answer came to its end here, though the node may have more to say."""

    def feed(self, data: bytes) -> bytes:
        """Take a frame's data and give what may go to the client.

        Raises: BadNodeReply, EngineErrorEvent.
        """

    def finish(self) -> bytes:
        """Take the end of the answer and give the last bytes. Raises: BadNodeReply."""

    @property
    def has_content(self) -> bool:
        """Tell whether anything was given that another node would say again."""


@dataclass(slots=True)
class StreamReader:
    """Read a streamed answer event by event.

    `include_usage` tells whether the client asked for usage itself. `first` (an event), `text` and
    `beyond_text` (tool calls, reasoning, refusals) are what another node would need to go on.
    """

    gives_early: ClassVar[bool] = True
    include_usage: bool
    seen: Seen = field(default_factory=Seen)
    salvaged: bytes = b""
    whole: bool = False
    first: bytes = b""
    text: list[str] = field(default_factory=list)
    beyond_text: bool = False
    _rest: bytes = b""
    _done: bool = False

    @property
    def has_content(self) -> bool:
        """Tell whether anything was given that another node would say again."""
        return self.seen.content_events > 0

    def feed(self, data: bytes) -> bytes:
        """Take a frame's data and give the whole events in it that go on."""
        if self._rest:
            data = self._rest + data
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        *events, self._rest = data.split(b"\n\n")
        passed: list[bytes] = []
        try:
            for event in events:
                if out := self._event(event):
                    passed.append(out)
            if len(self._rest) > MAX_EVENT:
                raise BadNodeReply(f"an event of more than {MAX_EVENT} bytes")
        except (BadNodeReply, EngineErrorEvent):
            self.salvaged = self._joined(passed)
            raise
        return self._joined(passed)

    def _joined(self, passed: list[bytes]) -> bytes:
        if not passed:
            return b""
        if not self.first:
            self.first = passed[0]
        joined = b"\n\n".join(passed) + b"\n\n"
        self.seen.bytes_out += len(joined)
        return joined

    def finish(self) -> bytes:
        """Take the end of the answer; a stream that neither ended nor finished was cut off."""
        if self._rest.strip():
            raise BadNodeReply("the answer ends inside an event")
        if not (self._done or self.seen.finished):
            raise BadNodeReply("the stream ends before the answer does")
        self.seen.bytes_out += len(DONE)
        return DONE

    def _event(self, event: bytes) -> bytes:
        """Give the event as it goes on, without its blank line; empty when it does not."""
        if event.startswith(b"data: {") and b"\n" not in event:
            payload = event[6:]
        else:
            whole = _payload(event)
            if whole is None or self._ends(whole):
                return b""
            payload, event = whole, b"data: " + whole
        if self._done:
            raise BadNodeReply("an event after [DONE]")
        try:
            seen = _events.decode(payload)
        except UNDECODABLE as error:
            raise BadNodeReply(f"an event that cannot be read: {str(error)[:100]}") from error
        if seen.error is not ABSENT and _is_there(seen.error):
            raise EngineErrorEvent(error_message(payload))
        for choice in seen.choices:
            self._count(choice)
        if seen.usage is msgspec.UNSET:
            return event
        return self._with_usage(event, payload, seen)

    def _ends(self, payload: bytes) -> bool:
        if payload != b"[DONE]":
            return False
        self._done = True
        return True

    def _count(self, choice: _Choice) -> None:
        if choice.finish_reason is not None:
            self.seen.finished = True
        delta = choice.delta
        text = choice.text if delta is None else delta.content or choice.text
        if text:
            self.seen.content_events += 1
            self.text.append(text)
        if delta is not None and (
            delta.tool_calls is not ABSENT
            or delta.reasoning_content
            or delta.reasoning
            or delta.refusal
            or delta.function_call is not ABSENT
        ):
            self._beyond_text(delta, counted=bool(text))

    def _beyond_text(self, delta: _Delta, *, counted: bool) -> None:
        if (
            delta.reasoning_content
            or delta.reasoning
            or delta.refusal
            or _is_there(delta.tool_calls)
            or _is_there(delta.function_call)
        ):
            self.beyond_text = True
            self.seen.content_events += not counted

    def _with_usage(self, event: bytes, payload: bytes, seen: _Event) -> bytes:
        if isinstance(seen.usage, Usage):
            self.seen.usage = seen.usage.beyond(self.seen.usage)
        if self.include_usage:
            return event
        try:
            return _without_usage(payload) if seen.choices else b""
        except UNDECODABLE as error:
            raise BadNodeReply(f"an event that cannot be read: {str(error)[:100]}") from error


@dataclass(slots=True)
class PlainReader:
    """Gather an answer that is one JSON object, and check it when it is whole."""

    gives_early: ClassVar[bool] = False
    route: Route
    max_bytes: int
    seen: Seen = field(default_factory=Seen)
    salvaged: bytes = b""
    whole: bool = False
    _parts: list[bytes] = field(default_factory=list)
    _size: int = 0

    @property
    def has_content(self) -> bool:
        """Nothing is given before the end."""
        return False

    def feed(self, data: bytes) -> bytes:
        """Keep a part; nothing goes on before the whole is checked."""
        self._size += len(data)
        if self._size > self.max_bytes:
            raise BadNodeReply(f"an answer of more than {self.max_bytes} bytes")
        self._parts.append(data)
        return b""

    def finish(self) -> bytes:
        """Check the whole answer and give it unchanged."""
        body = b"".join(self._parts)
        try:
            answer = _plain.decode(body)
        except UNDECODABLE as error:
            raise BadNodeReply(f"an answer that cannot be read: {str(error)[:100]}") from error
        items = answer.data if self.route == "embeddings" else answer.choices
        if _is_there(answer.error) or not items:
            raise BadNodeReply("an answer without a result")
        self.seen.usage = answer.usage
        self.seen.content_events = len(items)
        self.seen.finished = True
        self.seen.bytes_out = len(body)
        return body


class EngineErrorEvent(Exception):
    """The engine itself said, inside its stream, that it failed."""


@dataclass(frozen=True, slots=True)
class EngineComplaint:
    """An engine's error answer, cut to what may be shown."""

    message: str
    kind: Literal["context", "other"]


def reader_for(route: Route, *, stream: bool, include_usage: bool, max_bytes: int) -> Reader:
    """Make the reader for a request."""
    return StreamReader(include_usage) if stream else PlainReader(route, max_bytes)


def error_message(body: bytes) -> str:
    """Read an engine's error text, at most 500 characters, whatever shape it has."""
    try:
        envelope = _errors.decode(body)
    except UNDECODABLE:
        return ""
    inner = envelope.error
    if isinstance(inner, _ErrorBody):
        return _printable(inner.message)
    return _printable(inner or envelope.message)


def complaint(body: bytes) -> EngineComplaint:
    """Tell what an engine's 4xx answer is about."""
    message = error_message(body)
    lowered = message.lower()
    about_context = "context" in lowered and any(
        word in lowered for word in ("length", "size", "exceed", "tokens", "window")
    )
    return EngineComplaint(message, "context" if about_context else "other")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:500])


def _payload(event: bytes) -> bytes | None:
    """Give the data of an event, on one line; None for comments and for events without data.

    Raises: BadNodeReply for a line that is neither comment nor field (WHATWG HTML, 9.2.6).
    """
    lines = event.split(b"\n")
    if not all(line.startswith(_LINES) or not line for line in lines):
        # Browsers skip what they do not know; here it would take a piece of the answer with it.
        raise BadNodeReply("a line that belongs to no event stream")
    data = [line[5:].removeprefix(b" ") for line in lines if line[:5] == b"data:"]
    return b" ".join(data) if data else None


def _greater(one: int | None, other: int | None) -> int | None:
    return max((count for count in (one, other) if count is not None), default=None)


def _is_there(raw: msgspec.Raw) -> bool:
    return bytes(raw) not in (b"", b"null", b"[]")


def _without_usage(payload: bytes) -> bytes:
    parts = objects.decode(payload)
    del parts["usage"]
    return b"data: " + _encoder.encode(parts)
