"""How fast the line to the gateway is, both ways: some megabytes, some seconds, no more."""

import asyncio
import io
import os
from collections.abc import Mapping
from typing import Final, NamedTuple

import aiohttp
import structlog

from garage_ai.node.errors import NodeError
from garage_ai.node.folder import Record
from garage_ai.node.gateway_client import GatewayClient, may_be_proxied
from garage_ai.node.records import tls_for
from garage_ai.wire.enrolment import sign_proof
from garage_ai.wire.identity import IdentityError, NodeIdentity
from garage_ai.wire.trust import TrustError

_log = structlog.get_logger(__name__)

PATH: Final = "/api/v1/line"
FIRST: Final = 256 * 1024
"""Bytes that show whether the line is slow; a slow one is not asked for more."""

MOST: Final = 4 * 1024 * 1024
QUICK_SECONDS: Final = 0.5
RUN_SECONDS: Final = 8.0
_OK: Final = 200
_PIECE: Final = 64 * 1024
_NOISE: Final = os.urandom(_PIECE)


class LineSpeed(NamedTuple):
    """Bytes per second to the gateway and back from it; None where it was not measured."""

    up: float | None = None
    down: float | None = None


async def measure_line(
    record: Record, identity: NodeIdentity, round_trip: float | None
) -> LineSpeed:
    """Measure both ways, one after the other. Never raises: a line is no reason to fail."""
    try:
        tls = tls_for(record)
        async with GatewayClient(record.gateway, tls=tls) as client:
            nonce = await client.nonce()
        proof = sign_proof(identity, "line", record.node, nonce)
        headers = {
            "x-gai-node": proof.node,
            "x-gai-nonce": proof.nonce,
            "x-gai-signature": proof.signature,
        }
        async with aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=RUN_SECONDS),
            connector=aiohttp.TCPConnector(ssl=True if tls is None else tls),
            trust_env=may_be_proxied(record.gateway),
        ) as session:
            url = record.gateway + PATH
            up = await _both_sizes(_Up(session, url), round_trip)
            down = await _both_sizes(_Down(session, url), round_trip)
    except (NodeError, IdentityError, TrustError, aiohttp.ClientError, OSError) as error:
        _log.info("line_unmeasured", detail=(str(error) or type(error).__name__)[:200])
        return LineSpeed()
    return LineSpeed(up, down)


class _Up:
    """One way; what it sends is noise, which no proxy makes smaller."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def run(self, size: int) -> None:
        """Send so many bytes. Raises: ClientError, TimeoutError."""
        await _post(self._session, self._url, {}, io.BytesIO(_NOISE * (size // _PIECE)))


class _Down:
    """The other way."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def run(self, size: int) -> None:
        """Fetch so many bytes. Raises: ClientError, TimeoutError."""
        got = await _post(self._session, self._url, {"down": str(size)}, io.BytesIO())
        if got != size:
            raise aiohttp.ClientPayloadError(f"{got} bytes of {size} came")


async def _post(
    session: aiohttp.ClientSession, url: str, query: Mapping[str, str], body: io.BytesIO
) -> int:
    """Ask, and count the bytes that come back."""
    async with session.post(url, params=query, data=body, allow_redirects=False) as response:
        if response.status != _OK:
            raise aiohttp.ClientPayloadError(f"the gateway answers {response.status}")
        got = 0
        async for piece in response.content.iter_chunked(_PIECE):
            got += len(piece)
            if got > MOST:
                raise aiohttp.ClientPayloadError("more came than was asked for")
        return got


async def _both_sizes(way: _Up | _Down, round_trip: float | None) -> float | None:
    """Run a little, and more where that was over too soon to tell; None where it did not end."""
    loop = asyncio.get_running_loop()
    speed: float | None = None
    for size in (FIRST, MOST):
        began = loop.time()
        try:
            await way.run(size)
        except TimeoutError:
            return speed
        took = loop.time() - began
        speed = rate(size, took, round_trip)
        if took >= QUICK_SECONDS:
            break
    return speed


def rate(size: int, took: float, round_trip: float | None) -> float:
    """Give the bytes per second of a run, less the one round trip that any request takes. Pure."""
    # A line that is mostly waiting is not made endlessly fast by leaving the waiting out.
    return size / max(took - (round_trip or 0.0), took / 10, 1e-6)


__all__ = ["LineSpeed", "measure_line", "rate"]
