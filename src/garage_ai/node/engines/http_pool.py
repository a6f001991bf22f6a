"""The connections to one engine: those at work, and those that wait for the next request."""

import asyncio
from functools import partial
from typing import Final

from garage_ai.node.engines.address import Address
from garage_ai.node.engines.http_connection import HttpConnection
from garage_ai.node.errors import EngineLost, EngineTimeout

CONNECT_SECONDS: Final = 5.0
KEEP_ALIVE_SECONDS: Final = 4.0
"""uvicorn and llama.cpp close an idle connection after five; a request must not meet that."""

_CLOSE_SECONDS: Final = 1.0


class HttpPool:
    """Connections, as many as there were requests at a time at most."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._all: set[HttpConnection] = set()
        self._idle: list[HttpConnection] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Future[None] | None = None

    def take(self) -> HttpConnection | None:
        """Give the connection that waited least, if there is one."""
        fresh = self._loop.time() - KEEP_ALIVE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if connection.open and connection.idle_since > fresh:
                return connection
            connection.drop()
        return None

    def give_back(self, connection: HttpConnection) -> None:
        """Keep a connection for the next request, if its last one allows that."""
        if not connection.rest():
            connection.drop()
            return
        connection.idle_since = self._loop.time()
        self._idle.append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(KEEP_ALIVE_SECONDS, self._sweep)

    async def dial(self, *, once: bool) -> HttpConnection:
        """Open a new connection, for one request or for more. Raises: EngineLost, EngineTimeout."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await self._address.connect(
                    partial(HttpConnection, self._gone, once=once)
                )
        except TimeoutError as error:
            raise EngineTimeout("no connection to the engine in time") from error
        except (OSError, ValueError) as error:
            told = error.strerror if isinstance(error, OSError) else None
            words = (told or str(error) or type(error).__name__)[:200]
            raise EngineLost(f"the engine cannot be reached: {words}") from error
        if self._emptied is not None:
            connection.drop()
            raise EngineLost("the engine is not running")
        if connection.open:
            self._all.add(connection)
        return connection

    async def close(self) -> None:
        """Drop all connections and wait until they are closed."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._idle.clear()
        self._emptied = self._loop.create_future()
        for connection in list(self._all):
            connection.drop()
        if self._all:
            await asyncio.wait({self._emptied}, timeout=_CLOSE_SECONDS)

    def _gone(self, connection: HttpConnection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._emptied is not None and not self._all and not self._emptied.done():
            self._emptied.set_result(None)

    def _sweep(self) -> None:
        """Drop what has waited too long; those that have waited longest stand first."""
        self._sweeper = None
        due = self._loop.time() - KEEP_ALIVE_SECONDS
        stale = [each for each in self._idle if each.idle_since <= due]
        for connection in stale:
            self._idle.remove(connection)
            connection.drop()
        if self._idle:
            wait = self._idle[0].idle_since - due
            self._sweeper = self._loop.call_later(wait, self._sweep)


__all__ = ["CONNECT_SECONDS", "KEEP_ALIVE_SECONDS", "HttpPool"]
