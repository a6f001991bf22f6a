"""Read a request's body within bounds of bytes and time.

A body that is not taken is read to its end and thrown away, within bounds too, before the error is
sent: a client that is still writing would otherwise see a reset instead of the answer.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from garage_ai.gateway.asgi import CLOSE, CONNECTION, Connection, Receive, Scope, header
from garage_ai.gateway.errors import BadRequest, ClientLeft, GatewayError


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bounds of a body: bytes and seconds.

    A body may take `seconds` in all and must not stand still for `idle_seconds`. Of one that is too
    large, `drain_bytes` more are read within `drain_seconds`.
    """

    size: int = 8_000_000
    seconds: float = 120.0
    idle_seconds: float = 20.0
    drain_bytes: int = 32_000_000
    drain_seconds: float = 5.0


async def read_body(scope: Scope, receive: Receive, limits: BodyLimits) -> bytes:
    """Read the whole body. Raises: GatewayError (body_too_large, request_timeout), ClientLeft."""
    if announced(scope) > limits.size:
        raise await refuse(_too_large(limits), scope, receive, limits)
    connection: Connection = scope[CONNECTION]
    if connection.came_whole:
        body, ended = await _take(receive), True
    else:
        body, ended = await _collect_in_time(receive, limits)
    if len(body) > limits.size:
        raise await refuse(_too_large(limits), scope, receive, limits, ended=ended)
    return body


async def pieces_of(scope: Scope, receive: Receive, limits: BodyLimits) -> AsyncIterator[bytes]:
    """Give a body as it comes, none of it held, within the same bounds.

    Raises: as `read_body`.
    """
    if announced(scope) > limits.size:
        raise await refuse(_too_large(limits), scope, receive, limits)
    loop = asyncio.get_running_loop()
    end, size, more = loop.time() + limits.seconds, 0, True
    while more:
        try:
            async with asyncio.timeout_at(min(end, loop.time() + limits.idle_seconds)):
                event = await receive()
        except TimeoutError:
            raise GatewayError("request_timeout", headers=(CLOSE,)) from None
        if event["type"] == "http.disconnect":
            raise ClientLeft
        more = event.get("more_body", False)
        piece: bytes = event.get("body", b"")
        size += len(piece)
        if size > limits.size:
            raise await refuse(_too_large(limits), scope, receive, limits, ended=not more)
        if piece:
            yield piece


async def _take(receive: Receive) -> bytes:
    """Take a body that is here. It waits for nobody, so it needs no limit of time, which costs."""
    event = await receive()
    if event["type"] == "http.disconnect":
        raise ClientLeft
    body: bytes = event["body"]
    return body


async def _collect_in_time(receive: Receive, limits: BodyLimits) -> tuple[bytes, bool]:
    try:
        async with asyncio.timeout(min(limits.seconds, limits.idle_seconds)) as deadline:
            return await _collect(receive, limits, deadline)
    except TimeoutError:
        raise GatewayError("request_timeout", headers=(CLOSE,)) from None


def announced(scope: Scope) -> int:
    """Tell how many bytes the client says that it sends; 0 where it says nothing."""
    text = header(scope, b"content-length")
    return int(text) if text is not None and text.isdecimal() else 0


async def _collect(
    receive: Receive, limits: BodyLimits, deadline: asyncio.Timeout
) -> tuple[bytes, bool]:
    """Read up to the end, or to the first piece beyond the limit; tell which it was."""
    event = await receive()
    body: bytes = event.get("body", b"")
    if not event.get("more_body", False) and event["type"] == "http.request":
        return body, True
    loop = asyncio.get_running_loop()
    end = loop.time() + limits.seconds
    grown = bytearray(body)
    while event.get("more_body", False) and len(grown) <= limits.size:
        deadline.reschedule(min(end, loop.time() + limits.idle_seconds))
        event = await receive()
        grown += event.get("body", b"")
    if event["type"] == "http.disconnect":
        raise ClientLeft
    return bytes(grown), not event.get("more_body", False)


async def refuse(
    error: GatewayError,
    scope: Scope,
    receive: Receive,
    limits: BodyLimits,
    *,
    ended: bool = False,
) -> GatewayError:
    """Throw the rest of the body away and give the error to answer with. Raises: ClientLeft."""
    if not ended and not _waits_for_leave(scope):
        ended = await _drain(receive, limits)
    if not ended:
        # What is still on its way cannot be told from the next request.
        error.headers = (CLOSE,)
    return error


def _too_large(limits: BodyLimits) -> GatewayError:
    return BadRequest("body_too_large", f"The body is larger than {limits.size} bytes.")


def _waits_for_leave(scope: Scope) -> bool:
    """Tell whether the client sends its body only after `100 Continue` (RFC 9110, 10.1.1)."""
    return (header(scope, b"expect") or "").lower() == "100-continue"


async def _drain(receive: Receive, limits: BodyLimits) -> bool:
    left = limits.drain_bytes
    try:
        async with asyncio.timeout(limits.drain_seconds):
            while left > 0:
                event = await receive()
                if event["type"] == "http.disconnect":
                    raise ClientLeft
                left -= len(event.get("body", b""))
                if not event.get("more_body", False):
                    return True
    except TimeoutError:
        pass
    return False


__all__ = ["BodyLimits", "announced", "pieces_of", "read_body", "refuse"]
