"""What a node asks of a gateway over HTTP: to be let in, a new JWT or key, models, to go.

A gateway that is not reached, or answers 429 or 5xx, is asked a few times before it counts as away.
"""

import asyncio
import os
import random
import ssl
import time
from types import TracebackType
from typing import Final, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from garage_ai import __version__
from garage_ai.node.errors import AgentTooOld, EnrolmentFailed, GatewayAway, NodeError, NotPossible
from garage_ai.node.page import read_page
from garage_ai.wire.benchmarks import Benchmark, sign_benchmark
from garage_ai.wire.enrolment import Enrolled, FreshJwt, sign_enrolment, sign_proof
from garage_ai.wire.hosts import is_loopback
from garage_ai.wire.identity import NodeIdentity, make_rotation
from garage_ai.wire.ids import NodeId

REQUEST_SECONDS: Final = 15.0
TRIES: Final = 5
FIRST_WAIT: Final = 0.5
"""Seconds before the second try; each further wait is twice as long."""

_LONGEST_WAIT: Final = 8.0
_MAX_ANSWER: Final = 256 * 1024
_GONE: Final = 410
_JSON: Final = {"Content-Type": "application/json"}
_TOO_MANY: Final = 429
_OUT_OF_DATE: Final = frozenset({9, 10})
"""Not valid yet, and no longer (OpenSSL, X509_STORE_CTX_get_error(3))."""


class GatewayRefused(EnrolmentFailed):
    """The gateway's own words, and its `reason`: a stable code."""

    def __init__(
        self, template: str, /, *, status: int = 0, reason: str = "", **values: object
    ) -> None:
        super().__init__(template, **values)
        self.status = status
        self.reason = reason


class NodeGoneForGood(GatewayRefused):
    """The node was removed from the network."""


class Nonce(msgspec.Struct, frozen=True):
    """A text to sign, good for a short time."""

    nonce: str


class _ErrorBody(msgspec.Struct, frozen=True):
    message: str = ""
    code: str | None = None


class _ErrorEnvelope(msgspec.Struct, frozen=True):
    error: _ErrorBody = _ErrorBody()


T = TypeVar("T")


class GatewayClient:
    """A few requests to one gateway; `tls` None trusts what the system trusts.

    A try may take `seconds`, however slowly the answer comes.
    """

    def __init__(
        self,
        base: str,
        *,
        tls: ssl.SSLContext | None = None,
        first_wait: float = FIRST_WAIT,
        seconds: float = REQUEST_SECONDS,
    ) -> None:
        self.base = base
        self._seconds = seconds
        self._first_wait = first_wait
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "GatewayClient":
        # A volunteer behind a company's proxy reaches the gateway as his browser does; a gateway
        # on this PC is not behind it.
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=may_be_proxied(self.base),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def enrol(
        self, identity: NodeIdentity, token: str, name: str, *, unsandboxed: bool
    ) -> Enrolled:
        """Become a node; safe to repeat with the same token and key.

        Raises: AgentTooOld, GatewayAway, GatewayRefused.
        """
        nonce = await self.nonce()
        request = sign_enrolment(
            identity, token, nonce, name, unsandboxed=unsandboxed, agent=__version__
        )
        return await self._post("/api/v1/nodes", request, Enrolled)

    async def renew(self, identity: NodeIdentity, node: NodeId) -> FreshJwt:
        """Ask for a new JWT, by proof of the key. Raises: GatewayAway, GatewayRefused."""
        proof = sign_proof(identity, "renew", node, await self.nonce())
        return await self._post(f"/api/v1/nodes/{node}/renew", proof, FreshJwt)

    async def rotate(self, old: NodeIdentity, new: NodeIdentity, node: NodeId) -> FreshJwt:
        """Put a new key in the old one's place; safe to repeat with the same two.

        Raises: GatewayAway, GatewayRefused.
        """
        rotation = make_rotation(node, await self.nonce(), old, new)
        return await self._post(f"/api/v1/nodes/{node}/key", rotation, FreshJwt)

    async def leave(self, identity: NodeIdentity, node: NodeId) -> None:
        """Leave the network for good. Raises: GatewayAway, GatewayRefused."""
        proof = sign_proof(identity, "leave", node, await self.nonce())
        await self._request(f"/api/v1/nodes/{node}/leave", proof)

    async def send_benchmark(
        self, identity: NodeIdentity, node: NodeId, benchmark: Benchmark
    ) -> None:
        """Hand in what was measured, signed; again changes nothing.

        Raises: GatewayAway, GatewayRefused.
        """
        signed = sign_benchmark(identity, node, await self.nonce(), benchmark)
        await self._request(f"/api/v1/nodes/{node}/benchmarks", signed)

    async def get(self, path: str, most: int) -> bytes:
        """Get what anybody may read: whole, or one byte beyond `most` where it is longer.

        Raises: GatewayAway, GatewayRefused.
        """
        return await self._request(path, None, get=most)

    async def nonce(self) -> str:
        """Ask for something to sign. Raises: GatewayAway, GatewayRefused."""
        return (await self._post("/api/v1/nonces", None, Nonce)).nonce

    async def _post(self, path: str, body: msgspec.Struct | None, kind: type[T]) -> T:
        page = await self._request(path, body)
        try:
            return msgspec.json.decode(page, type=kind)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise GatewayRefused(
                "{base} answered {path} in a way that this version does not understand: {error}",
                base=self.base,
                path=path,
                error=str(error)[:200],
            ) from error

    async def _request(
        self, path: str, body: msgspec.Struct | None, *, get: int | None = None
    ) -> bytes:
        """Send, several times if the gateway is away; `get` bytes are got, None: it is a POST.

        Raises: GatewayAway, GatewayRefused.
        """
        for number in range(1, TRIES + 1):
            try:
                return await self._once(path, body, get)
            except GatewayAway:
                if number == TRIES:
                    raise
            wait = min(_LONGEST_WAIT, self._first_wait * 2.0 ** (number - 1))
            await asyncio.sleep(wait * (0.5 + random.random() / 2))  # noqa: S311 - jitter
        raise AssertionError("unreachable: the last try returns or raises")

    async def _once(self, path: str, body: msgspec.Struct | None, get: int | None) -> bytes:
        if self._session is None:
            raise AssertionError("a GatewayClient is used inside `async with`")
        try:
            async with self._session.request(
                "POST" if get is None else "GET",
                self.base + path,
                data=_data(body) if get is None else None,
                headers=_JSON if get is None else None,
                ssl=True if self._tls is None else self._tls,
                allow_redirects=False,
            ) as response:
                page = await read_page(response, _MAX_ANSWER if get is None else get)
                status = response.status
        except aiohttp.ClientConnectorCertificateError as error:
            raise _not_trusted(self.base, error) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _not_reached(self.base, error) from error
        if status // 100 == 2:
            return page
        raise self._said_no(status, page)

    def _said_no(self, status: int, page: bytes) -> NodeError:
        try:
            said = msgspec.json.decode(page, type=_ErrorEnvelope).error
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            said = _ErrorBody()
        words = said.message[:300] or f"HTTP {status}"
        if said.code == AgentTooOld.code:
            return AgentTooOld("{base} says no: {words}", base=self.base, words=words)
        if status == _TOO_MANY or status >= 500:
            return GatewayAway("{base} cannot help just now: {words}", base=self.base, words=words)
        kind = NodeGoneForGood if status == _GONE else GatewayRefused
        return kind(
            "{base} says no: {words}",
            base=self.base,
            words=words,
            status=status,
            reason=said.code or "",
        )


def _data(body: msgspec.Struct | None) -> bytes:
    return b"{}" if body is None else msgspec.json.encode(body)


def _not_trusted(base: str, error: aiohttp.ClientConnectorCertificateError) -> NodeError:
    """Say why a certificate is not believed, and what helps: of a wrong clock no token does."""
    if getattr(error.certificate_error, "verify_code", 0) in _OUT_OF_DATE:
        return GatewayAway(
            "{base} shows a certificate that is not valid at {clock}, the time of this PC's clock. "
            "Set the clock if it is wrong (timedatectl); otherwise whoever runs the network has to "
            "renew it.",
            base=base,
            clock=time.strftime("%Y-%m-%d %H:%M"),
        )
    return GatewayRefused(
        "{base} shows a certificate that this PC does not trust. A network with a CA of its own, "
        "or a new one, needs a new token, whole, with the part behind the dot: gai node join URL "
        "TOKEN",
        base=base,
        reason="tls",
    )


def _not_reached(base: str, error: Exception) -> GatewayAway:
    """Say in plain words why nobody answered."""
    match error:
        case TimeoutError():
            return GatewayAway("{base} did not answer in time.", base=base)
        case aiohttp.ClientConnectorDNSError():
            return GatewayAway("{base} is not known: no such name was found.", base=base)
        case aiohttp.ClientConnectorSSLError(os_error=ssl.SSLError(reason=reason)):
            return GatewayAway(
                "{base} does not speak TLS ({words}). Look at the port, and whether it is http:// "
                "there.",
                base=base,
                words=(reason or "no handshake").replace("_", " ").lower(),
            )
        case aiohttp.ClientConnectorError() if error.os_error.strerror:
            # A loop's own words tell the address again, and the system's come in brackets.
            words = os.strerror(error.os_error.errno) if error.os_error.errno else str(error)
        case _:
            words = str(error) or type(error).__name__
    return GatewayAway("{base} cannot be reached: {words}", base=base, words=words[:200])


def may_be_proxied(base: str) -> bool:
    """Tell whether the way to a gateway may lead through the owner's proxy."""
    return not is_loopback(urlsplit(base).hostname or "")


def is_encrypted(base: str) -> bool:
    """Tell whether nobody on the way can read what is said to a gateway."""
    return base.startswith("https:") or is_loopback(urlsplit(base).hostname or "")


def gateway_base(text: str) -> str:
    """Give a gateway's base as the owner may type it, `/v1` and slashes cut off.

    Raises: NotPossible.
    """
    try:
        parts = urlsplit(text.strip())
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.username is not None:
        raise NotPossible("{text} is no address of a gateway; give https://HOST[:PORT]", text=text)
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}"


__all__ = [
    "GatewayClient",
    "GatewayRefused",
    "NodeGoneForGood",
    "gateway_base",
    "is_encrypted",
    "may_be_proxied",
]
