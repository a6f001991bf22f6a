"""HTTP to one engine and to nothing else: over a unix socket or to one address.

No redirects, no cookies, no proxies from the environment. There is no limit on the whole answer;
silence is watched by the agent, for all attempts at once.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from garage_ai.node.engines.port import PATHS
from garage_ai.node.errors import EngineLost, EngineProtocol, EngineTimeout, NotPossible
from garage_ai.wire.frames import Route

CONNECT_SECONDS: Final = 5.0
KEEP_ALIVE_SECONDS: Final = 4.0
"""uvicorn and llama.cpp close an idle connection after five; a request must not meet that."""

_READ_BUFFER: Final = 64 * 1024
_MAX_SMALL_ANSWER: Final = 4 * 1024 * 1024
_MAX_CONTENT_TYPE: Final = 128
_SKIPPED: Final = ("User-Agent", "Accept", "Accept-Encoding")
_REDIRECT: Final = range(300, 400)
_STALE: Final = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)
"""How a connection shows, while it is written to, that the engine had closed it."""

_BROKEN: Final = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, ConnectionError)


class HttpAnswer:
    """An answer coming in over HTTP."""

    __slots__ = ("_content", "_link", "_response", "content_type", "status")

    pace: Final = None

    def __init__(self, response: aiohttp.ClientResponse, link: "EngineLink") -> None:
        self._response = response
        self._content = response.content
        self._link: EngineLink | None = link
        link.open_answers += 1
        self.status = response.status
        self.content_type = response.headers.get("Content-Type", "")[:_MAX_CONTENT_TYPE]

    @property
    def at_end(self) -> bool:
        """Whether all of it was read."""
        return self._content.at_eof()

    async def read(self) -> bytes:
        """Give what is there, waiting for the first byte of it; empty at the end.

        Raises: EngineLost, EngineProtocol.
        """
        try:
            return await self._content.readany()
        except _BROKEN as error:
            raise EngineLost("the engine closed the connection in the middle") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise EngineProtocol(f"the engine's answer is broken: {_words(error)}") from error

    def close(self) -> None:
        """Let go of it; an answer that is not at its end loses its connection. Idempotent."""
        link, self._link = self._link, None
        if link is not None:
            link.open_answers -= 1
            self._response.close()


class EngineLink:
    """A pool of connections to one engine; sockets stand behind `socket`, else `base` is dialled.

    `base` is `http(s)://host[:port][/prefix]`, without `/v1`. `key` goes to the engine and is
    shown nowhere.
    """

    def __init__(
        self, base: str, *, socket: Callable[[], str] | None = None, key: str | None = None
    ) -> None:
        self._base = base.rstrip("/")
        self._socket = socket
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._urls = {route: URL(self._base + path, encoded=True) for route, path in PATHS.items()}
        self._session: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None
        self.open_answers = 0
        """Answers under way now."""

    def open(self) -> None:
        """Begin a pool; needs a running loop."""
        if self._socket is not None:
            # llama.cpp closes after each stream without saying so, and a new socket costs nothing.
            fresh = aiohttp.UnixConnector(self._socket(), limit=0, force_close=True)
            self._session = self._fresh = self._session_on(fresh)
            return
        pooled = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS)
        self._session = self._session_on(pooled)
        self._fresh = self._session_on(aiohttp.TCPConnector(limit=0, force_close=True))

    def _session_on(self, connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
            skip_auto_headers=_SKIPPED,
            auto_decompress=False,
            trust_env=False,
            read_bufsize=_READ_BUFFER,
        )

    async def close(self) -> None:
        """Drop all connections; idempotent."""
        sessions = {self._session, self._fresh}
        self._session = self._fresh = None
        for session in sessions:
            if session is not None:
                await session.close()

    async def post(self, route: Route, body: bytes) -> HttpAnswer:
        """Put a body to one of the allowed paths and wait for the head of the answer.

        Raises: EngineLost, EngineTimeout, EngineProtocol.
        """
        url = self._urls[route]
        try:
            return await self._send(self._session, "POST", url, body)
        except _STALE:
            # The engine dropped an idle connection while we were writing to it; nothing was
            # answered, so asking once more is no second answer. The pool may hold more of them.
            return await self._guarded("POST", url, body)

    async def get(self, path: str, *, seconds: float) -> tuple[int, bytes]:
        """Fetch a small page of the engine for the agent's own use.

        Raises: EngineLost, EngineTimeout, EngineProtocol.
        """
        return await self._small("GET", path, None, seconds)

    async def probe(self, route: Route, body: bytes, *, seconds: float) -> tuple[int, bytes]:
        """Put a request of the agent's own and read the whole answer.

        Raises: EngineLost, EngineTimeout, EngineProtocol.
        """
        return await self._small("POST", PATHS[route], body, seconds)

    async def _small(
        self, method: str, path: str, body: bytes | None, seconds: float
    ) -> tuple[int, bytes]:
        url = URL(self._base + path, encoded=True)
        try:
            async with asyncio.timeout(seconds):
                answer = await self._guarded(method, url, body)
                try:
                    return answer.status, await _all_of(answer)
                finally:
                    answer.close()
        except TimeoutError as error:
            raise EngineTimeout(f"no answer within {seconds:g} s") from error

    async def _guarded(self, method: str, url: URL, body: bytes | None) -> HttpAnswer:
        """Ask on a connection of its own."""
        try:
            return await self._send(self._fresh, method, url, body)
        except _STALE as error:
            raise EngineLost("the engine closed the connection without an answer") from error

    async def _send(
        self, session: aiohttp.ClientSession | None, method: str, url: URL, body: bytes | None
    ) -> HttpAnswer:
        if session is None:
            raise EngineLost("the engine is not running")
        try:
            response = await session.request(method, url, data=body, allow_redirects=False)
        except TimeoutError as error:
            raise EngineTimeout("no connection to the engine in time") from error
        except aiohttp.ClientConnectorError as error:
            raise EngineLost(f"the engine cannot be reached: {_words(error)}") from error
        except _STALE:
            raise
        except (*_BROKEN, OSError) as error:
            raise EngineLost(f"the engine cannot be reached: {_words(error)}") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise EngineProtocol(f"the engine's answer is broken: {_words(error)}") from error
        if response.status in _REDIRECT:
            response.close()
            raise EngineProtocol(f"the engine answered with a redirect ({response.status})")
        return HttpAnswer(response, self)


async def _all_of(answer: HttpAnswer) -> bytes:
    parts = bytearray()
    while part := await answer.read():
        parts += part
        if len(parts) > _MAX_SMALL_ANSWER:
            raise EngineProtocol("the engine's answer is far too long")
    return bytes(parts)


def _words(error: BaseException) -> str:
    return (str(error) or type(error).__name__)[:200]


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
        raise NotPossible(f"not an engine's address: {engine_url}; give http://HOST:PORT/v1")
    path = parts.path.rstrip("/").removesuffix("/v1")
    return f"{parts.scheme}://{parts.netloc}{path}"


def socket_path(folder: int, name: str) -> str:
    """Name a unix socket by an open folder: a path of any depth fits into the 107 bytes allowed."""
    return str(Path("/proc/self/fd", str(folder), name))


__all__ = ["EngineLink", "HttpAnswer", "base_of", "socket_path"]
