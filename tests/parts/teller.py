"""A gateway in front of another that tells of models whatever a test wants told."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
import msgspec
from aiohttp import web

from garage_ai.catalog import Manifest, digest_of

MANIFESTS = "/api/v1/manifests"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def entry(manifest: Manifest, /, **changed: object) -> bytes:
    """Tell of a model as a gateway does, or with something else in its place."""
    told = {
        "digest": digest_of(manifest),
        "name": manifest.name,
        "added_at": "2026-11-30T12:00:00Z",
        "manifest": msgspec.to_builtins(manifest),
    }
    return msgspec.json.encode(told | changed)


def page(body: bytes, status: int = 200) -> Handler:
    """Answer with a page."""

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, content_type="application/json")

    return handler


def trickle(seconds: float) -> Handler:
    """Answer one byte at a time, and never to the end."""

    async def handler(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        while True:
            await reply.write(b" ")
            await asyncio.sleep(seconds)

    return handler


@dataclass
class Teller:
    """Answers for `says` by name, lists what it was told to, and passes on all else.

    `listing` answers in the list's place.
    """

    behind: str = ""
    says: dict[str, Handler] = field(default_factory=dict)
    listed: list[bytes] = field(default_factory=list)
    listing: Handler | None = None
    asked: list[str] = field(default_factory=list)
    enrolled: int = 0
    port: int = 0
    _runner: web.AppRunner | None = None
    _session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def tells(self, manifest: Manifest) -> None:
        """Tell the truth of a model."""
        self.says[manifest.name] = page(entry(manifest))
        self.listed.append(entry(manifest))

    def lists(self, said: object) -> None:
        """Put anything at all into the list."""
        self.listed.append(msgspec.json.encode(said))

    async def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        app = web.Application(client_max_size=1 << 24)
        app.router.add_get(MANIFESTS, self._list)
        app.router.add_get(MANIFESTS + "/{name}", self._tell)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        self._session = aiohttp.ClientSession()
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Be away."""
        if self._runner is not None and self._session is not None:
            await self._runner.cleanup()
            await self._session.close()
            self._runner = self._session = None

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if self.listing is not None:
            return await self.listing(request)
        body = b'{"data": [' + b", ".join(self.listed) + b"]}"
        return web.Response(body=body, content_type="application/json")

    async def _tell(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        self.asked.append(name)
        handler = self.says.get(name) or page(b'{"error": {"code": "no_manifest"}}', 404)
        return await handler(request)

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        if self._session is None:
            raise AssertionError("it was not started")
        self.enrolled += request.path == "/api/v1/nodes"
        async with self._session.request(
            request.method,
            self.behind + request.path_qs,
            data=await request.read(),
            headers={"Content-Type": request.content_type},
        ) as answer:
            return web.Response(
                body=await answer.read(), status=answer.status, content_type=answer.content_type
            )


__all__ = ["MANIFESTS", "Handler", "Teller", "entry", "page", "trickle"]
