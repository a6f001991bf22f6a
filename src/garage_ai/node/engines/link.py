"""HTTP to one engine and to nothing else: over a unix socket or to one address.

No redirects, no cookies, no proxies from the environment. There is no limit on the whole answer;
silence is watched by the agent, for all attempts at once.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from garage_ai.node.engines.address import Address, own_socket
from garage_ai.node.engines.http_connection import HttpConnection
from garage_ai.node.engines.http_pool import HttpPool
from garage_ai.node.engines.http_reader import Reader, Unanswered
from garage_ai.node.engines.port import PATHS
from garage_ai.node.errors import EngineLost, EngineProtocol, EngineTimeout, NotPossible
from garage_ai.wire.frames import Route

BURST_SECONDS: Final = 0.002
"""Hardly a model writes 500 tokens a second to one stream: what comes so soon was written at once,
and is cut by chance. Each piece more is a packet more, for three processes."""

_MAX_SMALL_ANSWER: Final = 4 * 1024 * 1024
_MAX_CONTENT_TYPE: Final = 128
_CREDENTIALS: Final = struct.Struct("3i")  # process, user, group
_REDIRECT: Final = range(300, 400)
_CLOSING: Final = b"Connection: close\r\n"
_BODY: Final = b"Content-Type: application/json\r\nContent-Length: %d\r\n"


class HttpAnswer:
    """An answer coming in over HTTP."""

    __slots__ = ("_connection", "_link", "_reader", "_taken_at", "content_type", "status")

    pace: Final = None

    def __init__(self, connection: HttpConnection, reader: Reader, link: "EngineLink") -> None:
        self._connection = connection
        self._reader = reader
        self._link: EngineLink | None = link
        link.open_answers += 1
        self._taken_at = 0.0
        self.status = reader.status
        self.content_type = reader.content_type[:_MAX_CONTENT_TYPE]

    @property
    def at_end(self) -> bool:
        """Whether all of it was read."""
        return self._reader.at_end

    async def read(self) -> bytes:
        """Give what is there, waiting for the first byte of it; empty at the end.

        What follows the last within `BURST_SECONDS` is one burst, and given as one.
        Raises: EngineLost, EngineProtocol.
        """
        reader = self._reader
        while not reader.ready:
            await self._connection.news()
        since = self._connection.now() - self._taken_at
        if since < BURST_SECONDS and not reader.over:
            await self._connection.gather(BURST_SECONDS - since)
        self._taken_at = self._connection.now()
        data = reader.take()
        self._connection.relieved()
        return data

    def close(self) -> None:
        """Let go of it; an answer that is not at its end loses its connection. Idempotent."""
        link, self._link = self._link, None
        if link is not None:
            link.open_answers -= 1
            link.let_go(self._connection)


class EngineLink:
    """The way to one engine; sockets stand behind `socket`, else `base` is dialled.

    `base` is `http(s)://host[:port][/prefix]`, without `/v1`. `key` goes to the engine and is
    shown nowhere. Raises: NotPossible if one of them cannot stand in a request.
    """

    def __init__(
        self, base: str, *, socket: Callable[[], str] | None = None, key: str | None = None
    ) -> None:
        try:
            self._address = Address(base, socket)
        except UnicodeError as error:
            raise NotPossible(
                "not an engine's address: {base}",
                base=base,
            ) from error
        # llama.cpp closes after each stream without saying so, and a new socket costs nothing.
        self._once = socket is not None
        self._tail = f"Host: {self._address.authority}\r\n{_authorization(key)}".encode()
        self._heads = {
            route: self._head("POST", path, close=self._once) for route, path in PATHS.items()
        }
        self._pool: HttpPool | None = None
        self.open_answers = 0
        """Answers under way now."""

    def _head(self, method: str, path: str, *, close: bool) -> bytes:
        """Write a request's head but for what depends on its body."""
        line = f"{method} {self._address.prefix}{path} HTTP/1.1\r\n"
        return line.encode() + self._tail + (_CLOSING if close else b"")

    def open(self) -> None:
        """Begin a pool, where there is none; needs a running loop."""
        self._pool = self._pool or HttpPool(self._address)

    async def close(self) -> None:
        """Drop all connections; idempotent."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    async def post(self, route: Route, body: bytes) -> HttpAnswer:
        """Put a body to one of the allowed paths and wait for the head of the answer.

        Raises: EngineLost, EngineTimeout, EngineProtocol.
        """
        pool = self._running()
        head = self._heads[route] + _BODY % len(body)
        kept = pool.take()
        if kept is not None:
            try:
                return await self._ask(kept, head, body)
            except Unanswered:
                # The engine dropped an idle connection while we were writing to it; nothing was
                # answered, so asking once more is no second answer. The pool may hold more of them.
                pass
        return await self._ask(await pool.dial(once=self._once), head, body)

    async def get(self, path: str, *, seconds: float) -> tuple[int, bytes]:
        """Fetch a small page of the engine for the agent's own use.

        Raises: EngineLost, EngineTimeout, EngineProtocol.
        """
        return await self._small(self._head("GET", path, close=True), b"", seconds)

    async def probe(self, route: Route, body: bytes, *, seconds: float) -> tuple[int, bytes]:
        """Put a request of the agent's own and read the whole answer.

        Raises: EngineLost, EngineTimeout, EngineProtocol.
        """
        head = self._head("POST", PATHS[route], close=True) + _BODY % len(body)
        return await self._small(head, body, seconds)

    async def _small(self, head: bytes, body: bytes, seconds: float) -> tuple[int, bytes]:
        """Ask on a connection of its own."""
        pool = self._running()
        try:
            async with asyncio.timeout(seconds):
                answer = await self._ask(await pool.dial(once=True), head, body)
                try:
                    return answer.status, await _all_of(answer)
                finally:
                    answer.close()
        except TimeoutError as error:
            raise EngineTimeout(f"no answer within {seconds:g} s") from error

    def _running(self) -> HttpPool:
        if self._pool is None:
            raise EngineLost("the engine is not running")
        return self._pool

    async def _ask(self, connection: HttpConnection, head: bytes, body: bytes) -> HttpAnswer:
        reader = await connection.ask(head + b"\r\n", body)
        if reader.status in _REDIRECT:
            connection.drop()
            raise EngineProtocol(f"the engine answered with a redirect ({reader.status})")
        return HttpAnswer(connection, reader, self)

    def let_go(self, connection: HttpConnection) -> None:
        """Take a connection back whose answer was closed."""
        if self._pool is not None:
            self._pool.give_back(connection)


async def _all_of(answer: HttpAnswer) -> bytes:
    parts = bytearray()
    while part := await answer.read():
        parts += part
        if len(parts) > _MAX_SMALL_ANSWER:
            raise EngineProtocol("the engine's answer is far too long")
    return bytes(parts)


def _authorization(key: str | None) -> str:
    if not key:
        return ""
    if not key.isprintable():
        raise NotPossible("the engine's key holds a character that no header can carry")
    return f"Authorization: Bearer {key}\r\n"


def base_of(engine_url: str) -> str:
    """Give the base of an `--engine-url`, whose `/v1` may be said or left out.

    Raises: NotPossible.
    """
    parts = urlsplit(engine_url.strip())
    try:
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment or parts.username:
        raise NotPossible(
            "not an engine's address: {engine_url}; give http://HOST:PORT/v1",
            engine_url=engine_url,
        )
    path = parts.path.rstrip("/").removesuffix("/v1")
    return f"{parts.scheme}://{parts.netloc}{path}"


def socket_path(folder: int, name: str) -> str:
    """Name a unix socket by an open folder: a path of any depth fits into the 107 bytes allowed."""
    return str(Path("/proc/self/fd", str(folder), name))


def listener_of(path: str) -> int | None:
    """Give the process that listens on a unix socket, as this process sees it (unix(7)).

    One in a container is no child of ours, so nothing else tells.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)
        try:
            with own_socket(path) as found:
                asking.connect(found)
        except OSError:
            return None
        said = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(said)[0]
    return pid or None


__all__ = ["EngineLink", "HttpAnswer", "base_of", "listener_of", "socket_path"]
