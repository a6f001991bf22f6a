"""Reading an answer that is one JSON object: checked whole, forwarded unchanged. Pure."""

from collections.abc import Mapping
from typing import ClassVar, Final

import msgspec

from garage_ai.network.complaint import UNDECODABLE
from garage_ai.network.delivered import NOTHING, Delivered
from garage_ai.network.errors import BadNodeReply
from garage_ai.network.events import ABSENT, Usage, is_there
from garage_ai.network.replies import Reader, Seen, StreamReader
from garage_ai.wire.frames import Route


class _Said(msgspec.Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: msgspec.Raw = ABSENT
    function_call: msgspec.Raw = ABSENT


class _Turn(msgspec.Struct, frozen=True):
    message: _Said
    finish_reason: str | None = None


class _Text(msgspec.Struct, frozen=True):
    text: str
    finish_reason: str | None = None


class _Vector(msgspec.Struct, frozen=True):
    embedding: msgspec.Raw


class _Chat(msgspec.Struct, frozen=True):
    choices: list[_Turn] = []
    usage: Usage | None = None
    error: msgspec.Raw = ABSENT


class _Completion(msgspec.Struct, frozen=True):
    choices: list[_Text] = []
    usage: Usage | None = None
    error: msgspec.Raw = ABSENT


class _Embeddings(msgspec.Struct, frozen=True):
    data: list[_Vector] = []
    usage: Usage | None = None
    error: msgspec.Raw = ABSENT


_Answer = _Chat | _Completion | _Embeddings
_decoders: Final[Mapping[Route, msgspec.json.Decoder[_Answer]]] = {
    "chat": msgspec.json.Decoder(_Chat),
    "completions": msgspec.json.Decoder(_Completion),
    "embeddings": msgspec.json.Decoder(_Embeddings),
}


class PlainReader(msgspec.Struct):
    """Gather an answer that is one JSON object, and check it when it is whole."""

    gives_early: ClassVar[bool] = False
    route: Route
    max_bytes: int
    seen: Seen = msgspec.field(default_factory=Seen)
    salvaged: bytes = b""
    whole: bool = False
    delivered: Delivered = NOTHING
    _parts: list[bytes] = []
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
            answer = _decoders[self.route].decode(body)
        except UNDECODABLE as error:
            raise BadNodeReply(f"an answer that cannot be read: {str(error)[:100]}") from error
        items = answer.data if isinstance(answer, _Embeddings) else answer.choices
        if is_there(answer.error) or not items:
            raise BadNodeReply("an answer without a result")
        if isinstance(answer, _Embeddings) and not all(map(_is_vector, answer.data)):
            raise BadNodeReply("an embedding that is neither numbers nor base64")
        self.seen.usage = answer.usage
        self.seen.content_events = len(items)
        self.seen.finished = True
        self.seen.bytes_out = len(body)
        self.delivered = _said_in(answer)
        return body

    def retract(self, data: bytes) -> None:  # noqa: ARG002 - it comes whole or not at all
        """Take it back: the client left before it came."""
        self.delivered = NOTHING


def reader_for(route: Route, *, stream: bool, include_usage: bool, max_bytes: int) -> Reader:
    """Make the reader for a request."""
    return StreamReader(include_usage) if stream else PlainReader(route, max_bytes)


def _is_vector(item: _Vector) -> bool:
    return bytes(item.embedding)[:1] in (b"[", b'"')


def _said_in(answer: _Answer) -> Delivered:
    texts: list[str | None] = []
    calls: list[bytes] = []
    if isinstance(answer, _Completion):
        texts += [choice.text for choice in answer.choices]
    elif isinstance(answer, _Chat):
        for turn in (choice.message for choice in answer.choices):
            texts += [turn.content, turn.reasoning_content or turn.reasoning, turn.refusal]
            calls += [bytes(raw) for raw in (turn.tool_calls, turn.function_call) if is_there(raw)]
    return Delivered(tuple(filter(None, texts)), tuple(calls))


__all__ = ["PlainReader", "reader_for"]
