"""`POST /api/v1/line`: a node sees how fast its line to this gateway is.

What is sent is counted and thrown away, what is asked for is noise. Only a node that proves itself
is served, before a byte of its body is read; what one node and all of them may cost is bounded in
bytes, seconds, runs and runs at a time, so that nobody fills the line with it.
"""

import asyncio
import os
from typing import Final
from urllib.parse import parse_qs

import msgspec

from garage_ai.gateway import asgi
from garage_ai.gateway.asgi import Receive, Scope, Send
from garage_ai.gateway.errors import BadRequest, ClientLeft, GatewayError, problem_of
from garage_ai.gateway.quota import Quota
from garage_ai.gateway.services import Enrolment
from garage_ai.wire.enrolment import Proof
from garage_ai.wire.ids import NodeId

PATH: Final = "/api/v1/line"
MAX_BYTES: Final = 4 * 1024 * 1024
"""One way in one run; two seconds of a line of 16 Mbit/s."""

SECONDS: Final = 10.0
MAX_AT_A_TIME: Final = 2
MAX_RUNS: Final = 12
WINDOW_SECONDS: Final = 600.0
"""A node may have so many runs in so long: three benchmarks, and 48 MiB."""

_PIECE: Final = 64 * 1024
_NOISE: Final = os.urandom(_PIECE)
_BUSY_SECONDS: Final = 5.0


class Line:
    """The endpoint."""

    def __init__(self, enrolment: Enrolment) -> None:
        self._enrolment = enrolment
        self._quota = Quota(MAX_RUNS, WINDOW_SECONDS)
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a body, and answer with noise or with how much came. Raises: GatewayError."""
        wanted = _wanted(scope)
        try:
            node = await self._enrolment.may_measure(_proof(scope))
            self._admit(node)
        except Exception as error:
            # The body was not read, so the connection cannot go on.
            raise _closing(error) from error
        self._running += 1
        try:
            received = await _swallow(receive)
            if wanted:
                await _give(send, scope, wanted)
                return
        finally:
            self._running -= 1
        body = msgspec.json.encode({"received": received})
        await asgi.answer(send, 200, body, _headers(scope, asgi.JSON))

    def _admit(self, node: NodeId) -> None:
        if self._running >= MAX_AT_A_TIME:
            raise GatewayError("too_many_measurements", retry_after=_BUSY_SECONDS)
        wait = self._quota.take(node)
        if wait is not None:
            raise GatewayError("too_many_measurements", retry_after=wait)


async def _swallow(receive: Receive) -> int:
    """Count the bytes of a body. Raises: GatewayError (body_too_large, request_timeout)."""
    received, more = 0, True
    try:
        async with asyncio.timeout(SECONDS):
            while more:
                event = await receive()
                if event["type"] == "http.disconnect":
                    raise ClientLeft
                received += len(event.get("body", b""))
                more = event.get("more_body", False)
                if received > MAX_BYTES:
                    words = f"The body is larger than {MAX_BYTES} bytes."
                    raise GatewayError("body_too_large", words, headers=(asgi.CLOSE,))
    except TimeoutError:
        raise GatewayError("request_timeout", headers=(asgi.CLOSE,)) from None
    return received


async def _give(send: Send, scope: Scope, wanted: int) -> None:
    """Send so many bytes, or as many as go out in the time there is."""
    kind = (b"content-type", b"application/octet-stream")
    start = {"type": "http.response.start", "status": 200, "headers": _headers(scope, kind)}
    try:
        async with asyncio.timeout(SECONDS):
            await send(start)
            while wanted > 0:
                piece = _NOISE[: min(wanted, _PIECE)]
                wanted -= len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    except TimeoutError:
        # Broken off in the middle, so that nobody takes it for whole.
        raise ClientLeft from None


def _headers(scope: Scope, *more: asgi.Header) -> list[asgi.Header]:
    request = (b"x-request-id", asgi.request_id(scope).encode())
    return [*more, request, asgi.NO_STORE]


def _wanted(scope: Scope) -> int:
    """Read how many bytes are to be sent back. Raises: BadRequest."""
    (said,) = parse_qs(scope["query_string"].decode("latin-1")).get("down", ["0"])[:1]
    if not said.isdecimal() or len(said) > 9 or int(said) > MAX_BYTES:
        words = f"'down': a number of bytes, {MAX_BYTES} at most."
        error = BadRequest("invalid_value", words, param="down")
        error.headers = (asgi.CLOSE,)
        raise error
    return int(said)


def _proof(scope: Scope) -> Proof:
    """Read the proof from the headers, as the body is not worth reading without one."""
    node, nonce, signature = (
        asgi.header(scope, name) or ""
        for name in (b"x-gai-node", b"x-gai-nonce", b"x-gai-signature")
    )
    if not 0 < len(node) <= 64 or not 0 < len(nonce) <= 256 or not 0 < len(signature) <= 128:
        raise GatewayError("proof_refused")
    return Proof(NodeId(node), nonce, signature)


def _closing(error: Exception) -> Exception:
    known = problem_of(error)
    if known is None:
        return error
    known.headers = (*known.headers, asgi.CLOSE)
    return known


__all__ = ["MAX_AT_A_TIME", "MAX_BYTES", "MAX_RUNS", "PATH", "Line"]
