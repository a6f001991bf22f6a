"""Reading what a node says an engine said: hostile input, each event decoded once. Pure.

A streamed answer is server-sent events; their bytes go on unchanged, after a look at the few fields
that matter. Two things are taken out: the engine's `[DONE]` (the gateway writes its own when the
stream is whole) and usage the client did not ask for.
"""

import contextlib
import re
from collections.abc import Sequence
from typing import ClassVar, Final, Protocol, TypeVar

import msgspec

from garage_ai.network.complaint import UNDECODABLE, error_message
from garage_ai.network.delivered import Delivered
from garage_ai.network.errors import BadNodeReply
from garage_ai.network.events import ABSENT, EVENTS, WORDS, Choice, Event, Said, Usage, is_there
from garage_ai.wire.whole import GOES_ON

MAX_EVENT: Final = 1 << 20
"""Bytes of one event at most; the largest real ones hold logprobs of twenty tokens."""

MAX_SILENT: Final = 10_000
"""Lines of events that say nothing: they cost time, and no client takes them for credit."""

DONE: Final = b"data: [DONE]\n\n"

_Piece = TypeVar("_Piece", str, bytes)

_LINES: Final = (b":", b"data", b"event", b"id", b"retry")
_ONE_LINE: Final = b"data: {"
_NEXT: Final = b"\n\n" + _ONE_LINE
_BORDER: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_LONGEST_BORDER: Final = 4
objects: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder: Final = msgspec.json.Encoder()


class Seen(msgspec.Struct):
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

    @property
    def delivered(self) -> Delivered:
        """What went to the client, as text."""

    def retract(self, data: bytes) -> None:
        """Take back the last that was given: the client left before it got that."""


class StreamReader(msgspec.Struct):
    """Read a streamed answer event by event.

    `include_usage` tells whether the client asked for usage itself. `first` (an event), `text` (of
    the first choice) and `beyond_text` (tool calls, reasoning, refusals) are what another node
    would need to go on. `beside` has what else was said, by choice and kind; `calls` the calls.
    """

    gives_early: ClassVar[bool] = True
    include_usage: bool
    seen: Seen = msgspec.field(default_factory=Seen)
    salvaged: bytes = b""
    whole: bool = False
    first: bytes = b""
    text: list[str] = []
    beside: dict[tuple[int, str], list[str]] = {}
    calls: list[bytes] = []
    beyond_text: bool = False
    _rest: bytes | bytearray = b""
    _done: bool = False
    _open: set[int] = set()
    _silent: int = 0

    @property
    def has_content(self) -> bool:
        """Tell whether anything was given that another node would say again."""
        return self.seen.content_events > 0

    @property
    def delivered(self) -> Delivered:
        """What went to the client, as text."""
        said = [self.text, *self.beside.values()]
        return Delivered(tuple(["".join(each) for each in said if each]), tuple(self.calls))

    def retract(self, data: bytes) -> None:
        """Take back the last events that were given: the client left before it got them."""
        unread = StreamReader(include_usage=True)
        with contextlib.suppress(BadNodeReply, EngineErrorEvent):
            unread.feed(data)
        _shorten(self.text, unread.text)
        _shorten(self.calls, unread.calls)
        for key, pieces in unread.beside.items():
            _shorten(self.beside.get(key, []), pieces)

    def feed(self, data: bytes) -> bytes:
        """Take a frame's data and give the whole events in it that go on."""
        if self._rest:
            # Only what is new is looked through: an event may come in a million pieces.
            fresh = max(0, len(self._rest) - _LONGEST_BORDER + 1)
            self._rest += data
            if _BORDER.search(self._rest, fresh) is None:
                self._bound_rest()
                return b""
            data = bytes(self._rest)
        if b"\r" in data:
            data = _with_one_line_end(data)
        passed: list[bytes] = []
        if (read := self._read_at_once(data)) > 0:
            passed.append(data[:read])
            data = data[read + 2 :]
        *events, rest = data.split(b"\n\n")
        self._rest = bytearray(rest) if rest else b""
        try:
            for event in filter(None, events):
                if out := self._event(event):
                    passed.append(out)
                else:
                    self._bound_silence(event)
            self._bound_rest()
        except (BadNodeReply, EngineErrorEvent):
            self.salvaged = self._joined(passed)
            raise
        return self._joined(passed)

    def _bound_rest(self) -> None:
        if len(self._rest) > MAX_EVENT:
            raise EventTooLarge(f"an event of more than {MAX_EVENT} bytes")

    def _bound_silence(self, event: bytes) -> None:
        self._silent += event.count(b"\n") + 1
        if self._silent > MAX_SILENT + 4 * self.seen.content_events:
            raise BadNodeReply("far more comments than answer")

    def _joined(self, passed: list[bytes]) -> bytes:
        if not passed:
            return b""
        if not self.first:
            self.first = passed[0].partition(b"\n\n")[0]
        joined = b"\n\n".join(passed) + b"\n\n"
        self.seen.bytes_out += len(joined)
        return joined

    def finish(self) -> bytes:
        """Take the end of the answer; a stream that neither ended nor finished was cut off."""
        if self._rest.strip():
            raise BadNodeReply("the answer ends inside an event")
        if not (self._done or (self.seen.finished and not self._open)):
            raise BadNodeReply("the stream ends before the answer does")
        self.seen.bytes_out += len(DONE)
        return DONE

    def _read_at_once(self, data: bytes) -> int:
        """Read all events but the last two if they go on as they are; give their length.

        That is where each is one line of data and neither an error nor usage is in it: 0 where not.
        Without the blank line behind the last of them. The last two are mostly an answer's end and
        its usage.
        """
        end = data.rfind(_NEXT, 0, data.rfind(_NEXT))
        if end < 0 or self._done or not data.startswith(_ONE_LINE):
            return 0
        number = data.count(_NEXT, 0, end) + 1
        # No other line breaks: then nothing stands between these lines.
        if data.count(b"\n", 0, end) != 2 * (number - 1):
            return 0
        lines = data[6:end].replace(b"\n\ndata: ", b"\n")
        return end if self._take_words(lines) or self._take_events(lines) else 0

    def _take_words(self, lines: bytes) -> bool:
        """Take events in, one a line, if each is a word of the first choice."""
        try:
            events = WORDS.decode_lines(lines)
        except UNDECODABLE:
            return False
        words = list(filter(None, [event.choices[0].delta.content for event in events]))
        self.text += words
        self.seen.content_events += len(words)
        self._open.add(0)
        return True

    def _take_events(self, lines: bytes) -> bool:
        """Take events in, one a line, if all of them go on as they are."""
        try:
            events = EVENTS.decode_lines(lines)
        except UNDECODABLE:
            return False
        if any(event.error is not ABSENT or event.usage is not msgspec.UNSET for event in events):
            return False
        for event in events:
            for choice in event.choices:
                self._count(choice)
        return True

    def _event(self, event: bytes) -> bytes:
        """Give the event as it goes on, without its blank line; empty when it does not."""
        if event.startswith(_ONE_LINE) and b"\n" not in event:
            payload = event[6:]
        else:
            whole = _payload(event)
            if whole is None or self._ends(whole):
                return b""
            payload, event = whole, b"data: " + whole
        if self._done:
            raise BadNodeReply("an event after [DONE]")
        try:
            seen = EVENTS.decode(payload)
        except UNDECODABLE as error:
            raise BadNodeReply(f"an event that cannot be read: {str(error)[:100]}") from error
        if seen.error is not ABSENT and is_there(seen.error):
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

    def _count(self, choice: Choice) -> None:
        if choice.finish_reason in GOES_ON:
            self._open.add(choice.index)
        else:
            self._open.discard(choice.index)
            self.seen.finished = True
        delta = choice.delta
        text = choice.text if delta is None else delta.content or choice.text
        if text:
            self.seen.content_events += 1
            if choice.index:
                self.beside.setdefault((choice.index, "text"), []).append(text)
            else:
                self.text.append(text)
        if delta is not None and (
            delta.tool_calls is not ABSENT
            or delta.reasoning_content
            or delta.reasoning
            or delta.refusal
            or delta.function_call is not ABSENT
        ):
            self._beyond_text(choice.index, delta, counted=bool(text))

    def _beyond_text(self, choice: int, delta: Said, *, counted: bool) -> None:
        thought = delta.reasoning_content or delta.reasoning
        calls = [raw for raw in (delta.tool_calls, delta.function_call) if is_there(raw)]
        if thought or delta.refusal or calls:
            self.beyond_text = True
            self.seen.content_events += not counted
        if thought:
            self.beside.setdefault((choice, "reasoning"), []).append(thought)
        if delta.refusal:
            self.beside.setdefault((choice, "refusal"), []).append(delta.refusal)
        self.calls += map(bytes, calls)

    def _with_usage(self, event: bytes, payload: bytes, seen: Event) -> bytes:
        if isinstance(seen.usage, Usage):
            self.seen.usage = seen.usage.beyond(self.seen.usage)
        if self.include_usage:
            return event
        try:
            return _without_usage(payload) if seen.choices else b""
        except UNDECODABLE as error:
            raise BadNodeReply(f"an event that cannot be read: {str(error)[:100]}") from error


class EventTooLarge(BadNodeReply):
    """An event that is longer than any is taken, though it may be what was asked for."""


class EngineErrorEvent(Exception):
    """The engine itself said, inside its stream, that it failed."""


def _with_one_line_end(data: bytes) -> bytes:
    """Turn each end of a line into LF, as clients do; a CR at the end may be half of one."""
    half = b"\r" if data.endswith(b"\r") else b""
    return data[: len(data) - len(half)].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + half


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


def _shorten(pieces: list[_Piece], by: Sequence[_Piece]) -> None:
    del pieces[max(0, len(pieces) - len(by)) :]


def _without_usage(payload: bytes) -> bytes:
    parts = objects.decode(payload)
    del parts["usage"]
    return b"data: " + _encoder.encode(parts)
