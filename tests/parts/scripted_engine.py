"""An engine on a real socket that answers, byte for byte, as a test says."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 30.0  # seconds a test waits for what the other side does


@dataclass(frozen=True)
class Asked:
    """A request as it came in."""

    line: str
    headers: dict[str, str]
    body: bytes


class Talk:
    """One connection, seen from the engine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def head(self) -> Asked:
        """Read the head of a request."""
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines[1:] if line)
        return Asked(lines[0], {name.lower(): value for name, value in pairs}, b"")

    async def request(self) -> Asked:
        """Read a whole request."""
        head = await self.head()
        body = await self._reader.readexactly(int(head.headers.get("content-length", "0")))
        return Asked(head.line, head.headers, body)

    async def say(self, *pieces: bytes) -> None:
        """Send pieces, each as far as the client takes it."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()

    async def left(self) -> bytes:
        """Wait until the client has closed the connection; give what it still said."""
        try:
            return await self._reader.read()
        except ConnectionError:
            return b""

    def reset(self) -> None:
        """Break the connection off."""
        self._writer.transport.abort()


Serve = Callable[[Talk], Awaitable[None]]


class ScriptedEngine:
    """Serves the first connection with the first of the scripts, and so on; the last one repeats.

    A connection is closed when its script is through. `connections` counts them, `asked` holds
    what was read by `answering`.
    """

    def __init__(self, *scripts: Serve, tls: ssl.SSLContext | None = None) -> None:
        self._scripts = scripts
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False
        self.connections = 0
        self.port = 0

    async def start(self, socket: Path | None = None) -> None:
        """Listen."""
        if socket is not None:
            self._server = await asyncio.start_unix_server(self._serve, socket)
            return
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything. Raises what a script raised that was no end of a connection."""
        self._stopped = True
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        gone = (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError, ssl.SSLError)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, gone):
                raise result

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._stopped:  # who called at the last moment is nobody's task any more
            writer.transport.abort()
            return
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        task = asyncio.ensure_future(self._follow(script, Talk(reader, writer), writer))
        self._tasks.add(task)
        await asyncio.wait({task})

    async def _follow(self, script: Serve, talk: Talk, writer: asyncio.StreamWriter) -> None:
        try:
            await script(talk)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


def answering(*answers: bytes, asked: list[Asked] | None = None) -> Serve:
    """Answer that many requests on one connection, then wait for the client to go."""

    async def serve(talk: Talk) -> None:
        for answer in answers:
            request = await talk.request()
            if asked is not None:
                asked.append(request)
            await talk.say(answer)
        await talk.left()

    return serve


__all__ = ["PATIENCE", "Asked", "ScriptedEngine", "Serve", "Talk", "answering"]
