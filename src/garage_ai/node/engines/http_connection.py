"""One connection to an engine: requests out, one at a time, and their answers in.

A protocol and no stream: of what a stream reader costs for each piece of an answer only one
future is left. Nothing here waits for ever by itself: the agent watches every attempt.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from garage_ai.node.engines.http_reader import Reader

HIGH_WATER: Final = 64 * 1024
"""Bytes of an answer that wait here before the engine is read no further."""


class HttpConnection(asyncio.Protocol):
    """A connection; `gone` is called when it is closed, `once` says that it is for one request."""

    __slots__ = (
        "_gathering",
        "_gone",
        "_loop",
        "_open",
        "_paused",
        "_reader",
        "_transport",
        "_waiter",
        "idle_since",
        "once",
    )

    def __init__(self, gone: Callable[["HttpConnection"], None], *, once: bool) -> None:
        self.once = once
        self.idle_since = 0.0
        self._gone = gone
        self._open = False
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._reader: Reader | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self._gathering = False

    @property
    def open(self) -> bool:
        """Whether it may be asked, or read on; a loop knows of an end before it tells."""
        return self._open and not self._transport.is_closing()

    async def ask(self, head: bytes, body: bytes) -> Reader:
        """Send a request and wait for the head of its answer; it is dropped if none comes.

        Raises: EngineLost, EngineProtocol.
        """
        reader = self._reader = Reader()
        try:
            if self.open:
                self._transport.write(head + body)
            else:
                reader.ended(cleanly=False)
            while not (reader.status or reader.over):
                await self.news()
            if not reader.status:
                reader.take()  # raises
        except BaseException:
            self.drop()
            raise
        return reader

    def now(self) -> float:
        """Give the loop's time."""
        return self._loop.time()

    def news(self) -> asyncio.Future[None]:
        """Give what is resolved when something has come in, or nothing more will."""
        waiter = self._waiter = self._loop.create_future()
        return waiter

    async def gather(self, seconds: float) -> None:
        """Let come in what comes in so many seconds, or to the end of the answer."""
        self._gathering = True
        timer = self._loop.call_later(seconds, self._wake)
        try:
            await self.news()
        finally:
            self._gathering = False
            timer.cancel()

    def relieved(self) -> None:
        """Read on: what had come was taken."""
        if self._paused:
            self._paused = False
            if self.open:
                self._transport.resume_reading()

    def rest(self) -> bool:
        """Let go of the answer; tell whether the connection may be asked again.

        Not if the engine answered before it had read all of the request: the rest of that would
        stand before the next one.
        """
        reader = self._reader
        if self.once or not self.open or reader is None or not reader.keeps:
            return False
        if self._transport.get_write_buffer_size():
            return False
        self._reader = None
        self.relieved()
        return True

    def drop(self) -> None:
        """Close it at once; idempotent."""
        self._open = False
        self._transport.abort()

    # --- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self._open = True

    def data_received(self, data: bytes) -> None:
        """Take a piece of the answer; without a question it ends the connection."""
        reader = self._reader
        if reader is None:
            self.drop()
            return
        reader.feed(data)
        if reader.held > HIGH_WATER and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        if not self._gathering or reader.over or self._paused:
            self._wake()

    def eof_received(self) -> None:
        """Take the end of what the engine says; it gets no further request."""
        self._open = False
        if self._reader is not None:
            self._reader.ended(cleanly=True)
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that it is closed."""
        self._open = False
        if self._reader is not None:
            self._reader.ended(cleanly=exc is None)
            self._wake()
        self._gone(self)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


__all__ = ["HIGH_WATER", "HttpConnection"]
