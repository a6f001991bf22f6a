"""A request and its answer on a connection, as uvicorn has them, with a head that costs less."""

from collections.abc import Coroutine, Sequence
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle


class Cycle(RequestResponseCycle):
    """One request and its answer, whose head is written at once.

    uvicorn looks through each name and value of a head twice; that took a request longer than its
    choice of a node. What it guards against, a line too many, is counted here.
    """

    _until_close = False

    def send(self, message: Any) -> Coroutine[Any, Any, None]:
        """Take an event of the answer, an open dictionary as ASGI has it."""
        if self._until_close and message["type"] == "http.response.body":
            self.expected_content_length = len(message.get("body", b""))
        starts = message["type"] == "http.response.start" and not self.response_started
        ordinary = starts and not self.disconnected and not self.flow.write_paused
        return self._start(message) if ordinary else super().send(message)

    async def _start(self, message: Any) -> None:
        head = self._head(message["status"], [*self.default_headers, *message.get("headers", ())])
        self.response_started = True
        self.waiting_for_100_continue = False
        self.transport.write(head)

    def _head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        """Write the head, and note how the body is to follow it. Raises: RuntimeError."""
        lines = [*map(b": ".join, headers)]
        given = dict(headers)
        connection, length = given.get(b"connection"), given.get(b"content-length")
        if connection is not None and b"close" in connection.lower():
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close")
        if length is not None:
            self.chunked_encoding, self.expected_content_length = False, int(length)
        elif self.scope["method"] != "HEAD" and status not in (204, 304):
            # HTTP/1.0 knows no chunks: there the end of the connection is the body's.
            self._until_close = self.scope["http_version"] == "1.0"
            self.chunked_encoding = not self._until_close
            if self.chunked_encoding:
                lines.append(b"transfer-encoding: chunked")
        head = STATUS_LINE[status] + b"\r\n".join([*lines, b"\r\n"])
        most = 2 + len(lines)
        if head.count(b"\n") != most or head.count(b"\r") != most or head.count(b"\0"):
            raise RuntimeError("a header that holds a line of its own")
        return head


__all__ = ["Cycle"]
