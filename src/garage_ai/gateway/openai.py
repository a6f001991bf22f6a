"""The OpenAI routes that reach an engine: chat, completions, embeddings.

The hot path: a plain ASGI endpoint without a framework. When the client hangs up, its connection
cancels the handler wherever it waits, and the handler then stops the node.
"""

import asyncio
import contextlib
from typing import Final, Self

import structlog

from garage_ai.aio import cleanup_timeout
from garage_ai.gateway import asgi
from garage_ai.gateway.asgi import CONNECTION, Connection, Receive, Send
from garage_ai.gateway.auth import Doorkeeper
from garage_ai.gateway.body import BodyLimits, read_body
from garage_ai.gateway.errors import (
    BadRequest,
    ClientLeft,
    GatewayError,
    envelope,
    problem_of,
)
from garage_ai.gateway.request import read_request
from garage_ai.gateway.services import Reply, Serving
from garage_ai.serving.models import Call
from garage_ai.wire.frames import Route
from garage_ai.wire.regions import COUNTIES, COUNTY

_log = structlog.get_logger(__name__)

_LAST_SECONDS: Final = 1.0
"""For the last words of a stream to a client that reads slowly, when the gateway stops."""

_STREAM_HEADERS: Final = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))


class Completions:
    """Answer one of the routes."""

    def __init__(
        self, route: Route, doorkeeper: Doorkeeper, serving: Serving, limits: BodyLimits
    ) -> None:
        self._route: Route = route
        self._doorkeeper = doorkeeper
        self._serving = serving
        self._limits = limits

    async def __call__(self, scope: asgi.Scope, receive: Receive, send: Send) -> None:
        """Answer a request. Raises: GatewayError and ServingError before the answer begins."""
        key = self._doorkeeper.admit(scope, "inference")
        region = _asked_region(scope)
        # What came has no name: it would be kept as long as the answer runs, beside what is sent.
        reading = read_request(self._route, await read_body(scope, receive, self._limits))
        call = Call(
            asgi.request_id(scope),
            self._route,
            key,
            reading.model,
            reading.body,
            reading.stream,
            reading.include_usage,
            region,
            reading.bound,
            _caller_id(scope),
        )
        extra = [asgi.dropped_header(reading.dropped)] if reading.dropped else []
        async with _ClientWatch(scope) as watch:
            await self._serve(call, send, extra, watch)

    async def _serve(
        self, call: Call, send: Send, extra: list[asgi.Header], watch: "_ClientWatch"
    ) -> None:
        try:
            reply = await self._serving.open(call, watch.outcome)
        except Exception as error:
            known = problem_of(error)
            if known is None or not extra:
                raise
            known.headers += tuple(extra)
            raise known from error
        try:
            headers = [*_headers(call, reply), *extra]
            if call.stream:
                await _send_events(reply, send, headers, watch)
            else:
                body = b"".join([chunk async for chunk in reply])
                watch.disarm()
                await asgi.answer(send, reply.status, body, headers)
        except asyncio.CancelledError:
            await _stop(reply, watch.outcome())
            raise
        finally:
            # One that is whole, or has said why it is not, is closed already: else it is our fault.
            await _stop(reply, "internal_error")


def _asked_region(scope: asgi.Scope) -> str | None:
    region = asgi.header(scope, b"x-gai-region")
    if region is not None and region not in COUNTIES:
        message = f"'x-gai-region': not {COUNTY}."
        raise BadRequest("invalid_value", message, param="x-gai-region")
    return region


def _caller_id(scope: asgi.Scope) -> str | None:
    """Give what the client calls its request, under the header that OpenAI has for it."""
    given = asgi.header(scope, b"x-client-request-id")
    if given is None or (given.isascii() and given.isprintable() and 0 < len(given) <= 128):
        return given
    message = "'x-client-request-id': 1 to 128 printable ASCII characters."
    raise BadRequest("invalid_value", message, param="x-client-request-id")


def _headers(call: Call, reply: Reply) -> list[asgi.Header]:
    return [
        (b"content-type", asgi.header_text(reply.content_type)),
        (b"x-request-id", call.request_id.encode()),
        (b"x-gai-node", asgi.header_text(reply.node)),
        (b"x-gai-region", asgi.header_text(reply.region)),
        (b"x-gai-trust", asgi.header_text(reply.trust)),
        *reply.headers,
    ]


async def _send_events(
    reply: Reply, send: Send, headers: list[asgi.Header], watch: "_ClientWatch"
) -> None:
    """Forward events as they come; the server's flow control holds us while the client is slow."""
    every = [*headers, *_STREAM_HEADERS]
    await send({"type": "http.response.start", "status": reply.status, "headers": every})
    end = b""
    try:
        async for chunk in reply:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except asyncio.CancelledError:
        if watch.gone:
            raise
        # The server stops and has waited long enough: what was said is recorded now, since a
        # client that reads slowly may hold up its last words for as long as it likes.
        stopping = GatewayError("shutting_down")
        await _stop(reply, stopping.code)
        watch.disarm()
        end = _last_words(stopping, reply.node)
        with contextlib.suppress(TimeoutError):
            async with cleanup_timeout(_LAST_SECONDS):
                await send({"type": "http.response.body", "body": end})
        return
    except Exception as error:
        end = _last_words(error, reply.node)
    watch.disarm()
    await send({"type": "http.response.body", "body": end})


def _last_words(error: Exception, node: str) -> bytes:
    """End a stream that failed here after it had begun, as one that failed below ends."""
    known = problem_of(error)
    if known is None:
        _log.error("stream_failed", node=node, error=type(error).__name__)
        known = GatewayError("internal_error")
    return b"data: " + envelope(known) + b"\n\n"


async def _stop(reply: Reply, outcome: str) -> None:
    """Tell the node that nobody listens any more; nothing happens when all was said."""
    try:
        # One message, put into a buffer: nothing here waits for anybody.
        await reply.aclose(outcome)
    except Exception as error:
        _log.error("stop_failed", node=reply.node, error=type(error).__name__)


class _ClientWatch:
    """Cancel the block when the client hangs up; the block then ends in ClientLeft.

    The connection itself tells, which costs a request neither a task nor a wait. The block disarms
    the watch before it sends the last bytes: what happens then is no concern of this answer.
    """

    def __init__(self, scope: asgi.Scope) -> None:
        self._connection: Connection = scope[CONNECTION]
        self.gone = False

    async def __aenter__(self) -> Self:
        """Start to watch. Raises: ClientLeft when the client is gone already."""
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("an ASGI app runs in a task")
        if self._connection.lost:
            raise ClientLeft
        self._handler = task
        self._connection.on_lost = self._hung_up
        return self

    def disarm(self) -> None:
        """Watch no longer."""
        self._connection.on_lost = None

    def outcome(self) -> str:
        """Say why the block is cancelled: else than the client nobody but the server does that."""
        return "client_closed" if self.gone else "shutting_down"

    def _hung_up(self) -> None:
        self.gone = True
        self._handler.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        """Stop to watch. Raises: ClientLeft."""
        self.disarm()
        if not self.gone:
            return
        if kind is not asyncio.CancelledError:
            # The cancellation is still on its way and must not hit what comes next.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        if self._handler.uncancel() == 0:
            raise ClientLeft from None


__all__ = ["Completions"]
