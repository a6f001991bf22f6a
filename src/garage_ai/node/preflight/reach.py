"""Ask the network for a sign of life: the gateway over HTTP, NATS by opening a connection."""

import asyncio
import contextlib
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from garage_ai.node.folder import Record
from garage_ai.node.gateway_client import may_be_proxied
from garage_ai.node.preflight.models import Reach
from garage_ai.node.records import tls_for
from garage_ai.wire.trust import TrustError

GATEWAY_SECONDS: Final = 5.0
NATS_SECONDS: Final = 3.0
SAMPLES: Final = 3
"""The quickest of so many round trips counts; the first one also shakes hands."""

_MOST_URLS: Final = 8
_PORTS: Final = {"nats": 4222, "tls": 4222, "ws": 80, "wss": 443}


async def look(record: Record) -> Reach:
    """See whether the node's network can be reached. Never raises."""
    gateway, opened = await asyncio.gather(
        _ask_gateway(record), asyncio.gather(*(_opens(url) for url in record.urls[:_MOST_URLS]))
    )
    round_trip, skew, error = gateway
    return Reach(
        gateway=record.gateway,
        error=error,
        round_trip=round_trip,
        skew=skew,
        nats=record.urls[:_MOST_URLS],
        nats_open=tuple(url for url in opened if url),
    )


async def _ask_gateway(record: Record) -> tuple[float | None, float | None, str]:
    """Give the round trip, the clock's skew and what went wrong."""
    try:
        tls = tls_for(record)
        proxied = may_be_proxied(record.gateway)
        async with (
            asyncio.timeout(GATEWAY_SECONDS),
            aiohttp.ClientSession(trust_env=proxied) as session,
        ):
            times = [await _round_trip(session, record.gateway, tls) for _ in range(SAMPLES)]
    except (aiohttp.ClientError, OSError, ValueError, TrustError) as error:
        return None, None, (str(error) or "no answer in time")[:200]
    quickest = min(times, key=lambda each: each[0])
    return *quickest, ""


async def _round_trip(
    session: aiohttp.ClientSession, base: str, tls: ssl.SSLContext | None
) -> tuple[float, float | None]:
    before = time.monotonic()
    async with session.get(
        f"{base}/health/live", ssl=True if tls is None else tls, allow_redirects=False
    ) as response:
        took = time.monotonic() - before
        return took, _skew(response.headers.get("Date", ""), time.time())


def _skew(date: str, now: float) -> float | None:
    """Give how far ahead this clock is; the header says whole seconds, so half of one is noise."""
    try:
        return now - parsedate_to_datetime(date).timestamp() - 0.5
    except ValueError:
        return None


async def _opens(url: str) -> str:
    """Give the address back if something listens there; empty if not."""
    parts = urlsplit(url)
    with contextlib.suppress(OSError, ValueError):  # TimeoutError is an OSError
        port = parts.port or _PORTS.get(parts.scheme, 4222)
        async with asyncio.timeout(NATS_SECONDS):
            _, writer = await asyncio.open_connection(parts.hostname, port)
            writer.close()
            return url
    return ""


__all__ = ["look"]
