"""Reading an answer that is one JSON object: checked whole, forwarded unchanged. Pure."""

from collections.abc import Mapping
from typing import ClassVar, Final

import msgspec

from garage_ai.network.complaint import UNDECODABLE
from garage_ai.network.delivered import NOTHING, Delivered
from garage_ai.network.errors import BadNodeReply
from garage_ai.network.events import ABSENT, Said, Usage, is_there
from garage_ai.network.replies import Reader, Seen, StreamReader
from garage_ai.wire.frames import Route


class _Turn(msgspec.Struct, frozen=True, gc=False):
    message: Said
    finish_reason: str | None = None


class _Text(msgspec.Struct, frozen=True, gc=False):
    text: str
    finish_reason: str | None = None


class _Vector(msgspec.Struct, frozen=True, gc=False):
    embedding: msgspec.Raw


class _Chat(msgspec.Struct, frozen=True):
    results: list[_Turn] = msgspec.field(name="choices", default_factory=list)
    usage: Usage | None = None
    error: msgspec.Raw = ABSENT

    def said(self) -> Delivered:
        texts: list[str] = []
        calls: list[bytes] = []
        for choice in self.results:
            turn = choice.message
            thought = turn.reasoning_content or turn.reasoning
            texts += filter(None, (turn.content, thought, turn.refusal))
            calls += map(bytes, filter(is_there, (turn.tool_calls, turn.function_call)))
        return Delivered(tuple(texts), tuple(calls))


class _Completion(msgspec.Struct, frozen=True):
    results: list[_Text] = msgspec.field(name="choices", default_factory=list)
    usage: Usage | None = None
    error: msgspec.Raw = ABSENT

    def said(self) -> Delivered:
        return Delivered(tuple([choice.text for choice in self.results if choice.text]), ())


class _Embeddings(msgspec.Struct, frozen=True):
    results: list[_Vector] = msgspec.field(name="data", default_factory=list)
    usage: Usage | None = None
    error: msgspec.Raw = ABSENT

    def said(self) -> Delivered:
        """Say nothing; vectors are numbers or base64. Raises: BadNodeReply."""
        if not all(bytes(each.embedding)[:1] in (b"[", b'"') for each in self.results):
            raise BadNodeReply("an embedding that is neither numbers nor base64")
        return NOTHING


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
        if is_there(answer.error) or not answer.results:
            raise BadNodeReply("an answer without a result")
        self.delivered = answer.said()
        self.seen = Seen(len(answer.results), len(body), answer.usage, finished=True)
        return body

    def retract(self, data: bytes) -> None:  # noqa: ARG002 - it comes whole or not at all
        """Take it back: the client left before it came."""
        self.delivered = NOTHING


def reader_for(route: Route, *, stream: bool, include_usage: bool, max_bytes: int) -> Reader:
    """Make the reader for a request."""
    return StreamReader(include_usage) if stream else PlainReader(route, max_bytes)


__all__ = ["PlainReader", "reader_for"]
