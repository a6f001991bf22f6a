"""One HTTP/1.1 answer out of bytes, the same for every way in which they are cut. Pure.

    head ─→ body ─→ over
     └───────┴── nonsense: EngineProtocol, bytes that stop coming: EngineLost ─→ over

llhttp reads. What it leaves to its user is done here: where an answer without a length ends
(RFC 9112, 6.3), that nothing follows an answer, and how much may come that is no body.
"""

from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from garage_ai.node.errors import EngineError, EngineLost, EngineProtocol

MAX_OVERHEAD: Final = 64 * 1024
"""Bytes of heads, and of anything else that comes in a row without being body."""

_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_INFORMATIONAL: Final = range(100, 200)
_FINAL: Final = range(200, 600)


class Unanswered(EngineLost):
    """The connection ended before any byte of an answer."""


class Reader:
    """An answer coming in.

    `status` is 0 until the head is whole; `over` is set when no more will come, for whatever
    reason; `keeps` tells then whether the connection may be asked again. `held` counts the bytes
    that wait to be taken, generously. The `on_...` are llhttp's.
    """

    __slots__ = (
        "_content_type",
        "_error",
        "_framed",
        "_parser",
        "_parts",
        "_room",
        "_silent",
        "held",
        "keeps",
        "on_body",
        "over",
        "status",
    )

    def __init__(self) -> None:
        self.status = 0
        self.over = False
        self.keeps = False
        self.held = 0
        self._content_type: bytes | None = None
        self._error: EngineError | None = None
        self._framed = False
        self._silent = True
        self._room = MAX_OVERHEAD
        self._parts: list[bytes] = []
        self.on_body = self._parts.append
        self._parser: HttpResponseParser | None = HttpResponseParser(self)

    @property
    def content_type(self) -> str:
        """What the answer says that it is; empty if it does not say, or its head broke off."""
        said = self._content_type if self.status else None
        return (said or b"").strip().decode("latin-1")

    @property
    def ready(self) -> bool:
        """Whether `take` has something to give, be it the end."""
        return bool(self._parts) or self.over

    @property
    def at_end(self) -> bool:
        """Whether the answer was whole and all of it was taken."""
        return self.over and not self._parts and self._error is None

    def feed(self, data: bytes) -> None:
        """Take what the engine sent."""
        self._silent = False
        self.held += len(data)
        while len(data) > self._room > 0:
            piece, data = data[: self._room], data[self._room :]
            self._parse(piece)
        self._parse(data)

    def ended(self, *, cleanly: bool) -> None:
        """Take note that no more bytes come."""
        if self.over:
            return
        if cleanly and self.status and not self._framed:
            self._finish()
        elif self._silent:
            self._fail(Unanswered("the engine closed the connection without an answer"))
        else:
            self._fail(EngineLost("the engine closed the connection in the middle"))

    def take(self) -> bytes:
        """Give the body that is there; empty at the end.

        Raises: EngineLost, EngineProtocol, each after the body that came before it.
        """
        parts = self._parts
        if parts:
            data = parts[0] if len(parts) == 1 else b"".join(parts)
            parts.clear()
            self.held = 0
            return data
        if self._error is not None:
            raise self._error
        return b""

    def _parse(self, data: bytes) -> None:
        parser = self._parser
        if parser is None:
            if data.strip(b"\r\n"):  # llhttp overlooks empty lines between answers too
                self.keeps = False
            return
        before = len(self._parts)
        try:
            parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if self.over:
                self.keeps = False
            else:
                self._fail(EngineProtocol(f"the engine's answer is broken: {str(error)[:200]}"))
            return
        self._room = MAX_OVERHEAD if len(self._parts) > before else self._room - len(data)
        if self._room <= 0 and not self.over:
            self._fail(EngineProtocol("the engine's answer is all head"))

    def _finish(self) -> None:
        self.over = True
        self._parser = None  # it refers back to us: the collector would have to find the two

    def _fail(self, error: EngineError) -> None:
        self._error = error
        self._finish()

    # --- called by llhttp

    def on_message_begin(self) -> None:
        """Refuse a second answer, which nobody asked for."""
        if self.over:
            raise HttpParserError("bytes after the end of an answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or one behind a chunked body, which says nothing to us."""
        name = name.lower()
        if name == b"content-type" and self._content_type is None:
            self._content_type = value
        elif name in _FRAMING:
            # A transfer coding other than chunked, which we never ask for, would end with the
            # connection; taken for a framed answer it ends as a lost engine instead.
            self._framed = True

    def on_headers_complete(self) -> None:
        """Take the head; an informational one is forgotten (RFC 9110, 15.2)."""
        parser = self._parser
        status = parser.get_status_code() if parser is not None else 0
        if status in _FINAL:
            self.status = status
        elif status in _INFORMATIONAL:
            self._content_type = None
            self._framed = False
        else:
            raise HttpParserError(f"no such status: {status}")

    def on_message_complete(self) -> None:
        """Take note of the end of the answer, if it is not an informational one's."""
        parser = self._parser
        if self.status and parser is not None:
            self.keeps = parser.should_keep_alive()
            self._finish()


__all__ = ["MAX_OVERHEAD", "Reader", "Unanswered"]
