"""A real HTTPS server of model files, whose misbehaviour a test chooses."""

import asyncio
import datetime
import ipaddress
import random
import ssl
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from garage_ai.catalog import OverHttps

WEIGHTS = random.Random(7).randbytes(3_000_000)

Handler = Callable[["Mirror", web.Request], Awaitable[web.StreamResponse]]


def make_certificate(path: Path) -> None:
    """Write a key and a certificate for 127.0.0.1 that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mirror")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )


@dataclass
class Mirror:
    """Serves `content` with ranges; `script` holds handlers for the next requests."""

    certificate: Path
    content: bytes = WEIGHTS
    etag: str | None = '"v1"'
    script: deque[Handler] = field(default_factory=deque)
    always: Handler | None = None
    requests: list[web.Request] = field(default_factory=list)
    sent: int = 0
    port: int = 0
    _runner: web.AppRunner | None = None

    @property
    def base(self) -> str:
        return f"https://127.0.0.1:{self.port}/models"

    @property
    def source(self) -> OverHttps:
        return OverHttps(base=self.base)

    async def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await self._runner.setup()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.certificate)
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Die: close every connection and stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        handler = self.script.popleft() if self.script else self.always or serve
        return await handler(self, request)


async def serve(
    mirror: Mirror, request: web.Request, most: int | None = None
) -> web.StreamResponse:
    """Answer as a good server does, ranges and If-Range included; cut off after `most` bytes."""
    offset = request.http_range.start or 0
    if request.headers.get("If-Range", mirror.etag) != mirror.etag:
        offset = 0
    body = mirror.content[offset:]
    answer = web.StreamResponse(status=206 if offset else 200)
    if offset:
        total = len(mirror.content)
        answer.headers["Content-Range"] = f"bytes {offset}-{total - 1}/{total}"
    if mirror.etag:
        answer.headers["ETag"] = mirror.etag
    answer.content_length = len(body)
    await answer.prepare(request)
    await send(mirror, answer, body[:most])
    if most is not None:
        cut(request)
    return answer


async def send(mirror: Mirror, answer: web.StreamResponse, body: bytes) -> None:
    """Write in pieces, counting them."""
    for start in range(0, len(body), 65536):
        piece = body[start : start + 65536]
        await answer.write(piece)
        mirror.sent += len(piece)


def cut(request: web.Request) -> None:
    """Close the connection under a request, once what was written has left."""
    if request.transport is not None:
        request.transport.close()


def cut_after(most: int) -> Handler:
    """Break off after so many bytes of the body."""

    async def handler(mirror: Mirror, request: web.Request) -> web.StreamResponse:
        return await serve(mirror, request, most)

    return handler


def answer(status: int, **headers: str) -> Handler:
    """Answer with a status and no body."""

    async def handler(mirror: Mirror, request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=status, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    return handler


def stall_after(most: int, reached: asyncio.Event) -> Handler:
    """Send so many bytes and then nothing, until the client goes."""

    async def handler(mirror: Mirror, request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        reply.content_length = len(mirror.content)
        if mirror.etag:
            reply.headers["ETag"] = mirror.etag
        await reply.prepare(request)
        await send(mirror, reply, mirror.content[:most])
        reached.set()
        async with asyncio.timeout(30):
            await asyncio.Event().wait()  # cancelled when the client goes
        return reply

    return handler


@contextmanager
def mirror_beside(folder: Path, content: bytes) -> Iterator[Mirror]:
    """Run a mirror beside a test that waits, in a thread of its own; its certificate in `folder`.

    Whoever is to trust it gets `SSL_CERT_FILE`, the mirror's certificate.
    """
    certificate = folder / "mirror.pem"
    make_certificate(certificate)
    mirror, loop = Mirror(certificate, content), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def wait_for(work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(30)

    try:
        wait_for(mirror.start())
        yield mirror
    finally:
        wait_for(mirror.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
