"""A client's connection that is played: bytes go in by hand, and what is said is kept."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from garage_ai.gateway.asgi import App
from garage_ai.gateway.server import Protocol, make_server


class PlayedTransport(asyncio.Transport):
    """A transport that keeps what it is told."""

    def __init__(self, unsent: int = 0) -> None:
        super().__init__()
        self.said: list[bytes | str] = []
        self.closing = False
        self.reading = True
        self.unsent = unsent
        self.limit: int | None = None
        self.ended = asyncio.Event()

    @property
    def written(self) -> bytes:
        """All bytes that were said."""
        return b"".join(each for each in self.said if isinstance(each, bytes))

    def write(self, data: Any) -> None:
        self.said.append(bytes(data))

    def close(self) -> None:
        self._end("close")

    def abort(self) -> None:
        self._end("abort")

    def _end(self, how: str) -> None:
        self.said.append(how)
        self.closing = True
        self.ended.set()

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limit = high

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


@contextmanager
def played_line(app: App) -> Iterator[tuple[Protocol, PlayedTransport]]:
    """Connect a client that is played to an app, until the block ends."""
    server = make_server(app, grace_seconds=1)
    protocol = Protocol(server.config, server.server_state, {})
    transport = PlayedTransport()
    protocol.connection_made(transport)
    try:
        yield protocol, transport
    finally:
        protocol.connection_lost(None)


async def answered(transport: PlayedTransport, count: int = 1) -> bytes:
    """Wait until so many answers have begun, and give all that was written."""
    async with asyncio.timeout(20):
        while transport.written.count(b"HTTP/1.1 ") < count:  # noqa: ASYNC110 - another task's
            await asyncio.sleep(0)
    return transport.written
