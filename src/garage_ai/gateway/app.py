"""The edge: every request comes in here, gets its id, finds its endpoint, and gets an answer."""

import asyncio
import traceback
from functools import cache
from typing import Final

import msgspec
import structlog
from starlette.middleware.cors import CORSMiddleware

from garage_ai.gateway import asgi, line, pages, upload
from garage_ai.gateway.asgi import App, Event, Receive, Send
from garage_ai.gateway.auth import Doorkeeper
from garage_ai.gateway.body import BodyLimits, read_body
from garage_ai.gateway.coordination import PREFIX as API_PREFIX
from garage_ai.gateway.coordination import create_coordination
from garage_ai.gateway.coordination.litellm import TOLD_PATH
from garage_ai.gateway.coordination.manifests import MANIFESTS_PATH
from garage_ai.gateway.errors import ClientLeft, GatewayError, internal_error, problem_of
from garage_ai.gateway.models_list import PREFIX as MODEL_PREFIX
from garage_ai.gateway.models_list import Models
from garage_ai.gateway.openai import Completions
from garage_ai.gateway.openapi import PATHS, describe
from garage_ai.gateway.services import Services

_log = structlog.get_logger(__name__)

MAX_API_BODY: Final = 64 * 1024
MAX_CALLS_BODY: Final = 2 * 1024 * 1024
"""A thousand calls of a LiteLLM proxy."""
MAX_MANIFEST_BODY: Final = 1024 * 1024
"""A manifest with a thousand files has a third of it."""
_EXPOSED: Final = (
    "x-request-id",
    "x-gai-node",
    "x-gai-region",
    "x-gai-trust",
    "x-gai-dropped",
    "retry-after",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
)

_BATCH_LISTS: Final = (upload.PATH, "/v1/batches")
_BATCH_PATHS: Final = tuple(f"{path}/" for path in _BATCH_LISTS)

_BEGUN: Final = "gai.begun"
"""In a scope once the answer has begun, a file's for example."""

Table = dict[str, dict[str, App]]


def create_app(services: Services) -> App:
    """Make the gateway's ASGI application."""
    return Edge(services)


class Edge:
    """Give every request an id and every failure its envelope."""

    def __init__(self, services: Services) -> None:
        doorkeeper = Doorkeeper(
            services.keys,
            services.metrics.auth_failed,
            services.key_limits.check_expiry,
        )
        self._metrics = services.metrics
        self._models = Models(doorkeeper, services.network, services.key_limits, services.prices)
        self._upload = upload.UploadEndpoint(
            doorkeeper, services.files, services.limits, services.uploads
        )
        self._coordination = create_coordination(services, doorkeeper)
        self._api_limits = _for_api(services.limits, MAX_API_BODY)
        self._longer_bodies = {
            TOLD_PATH: _for_api(services.limits, MAX_CALLS_BODY),
            MANIFESTS_PATH: _for_api(services.limits, MAX_MANIFEST_BODY),
        }
        self._table = self._routes(services, doorkeeper)
        # Errors are answered inside, so that a browser may read them too.
        self._cors = _with_cors(self.handle, services.cors_origins)

    def _routes(self, services: Services, doorkeeper: Doorkeeper) -> Table:
        table: Table = {
            path: {"POST": Completions(route, doorkeeper, services.serving, services.limits)}
            for route, path in PATHS.items()
        }
        return table | {
            line.PATH: {"POST": line.Line(services.enrolment)},
            "/v1/models": _readable(self._models.list),
            "/health/live": _readable(pages.live()),
            "/health/ready": _readable(pages.ready(services)),
            "/metrics": _readable(pages.metrics(services)),
            "/openapi.json": _readable(pages.produced(self._description, asgi.JSON)),
            "/docs": _readable(pages.page("docs.html")),
            "/": _readable(pages.page("index.html")),
            "/invite": _readable(pages.fixed(200, pages.INVITE, pages.TEXT)),
        }

    @cache  # noqa: B019 - there is one edge in a process
    def _description(self) -> bytes:
        return msgspec.json.encode(describe(self._coordination))

    async def __call__(self, scope: asgi.Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever happens inside, the client hears an envelope."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"no {scope['type']} is spoken here")
        scope["gai.request_id"] = asgi.new_request_id()
        if self._cors is None:
            await self.handle(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await self._cors(scope, receive, _with_request_id(scope, send))
        else:
            await self._cors(scope, receive, send)

    async def handle(self, scope: asgi.Scope, receive: Receive, send: Send) -> None:
        """Answer one request that has its id."""
        try:
            await self.route(scope, receive, send)
        except ClientLeft:
            self._metrics.error_answered("client_closed")
        except asyncio.CancelledError:
            # Nobody but the server cancels a request: its time for a graceful stop is over.
            error = GatewayError("shutting_down", retry_after=1.0, headers=(asgi.CLOSE,))
            await self._answer_failure(error, scope, send)
        except Exception as error:
            await self._answer_failure(error, scope, send)

    async def route(self, scope: asgi.Scope, receive: Receive, send: Send) -> None:
        """Find the endpoint and call it. Raises: GatewayError."""
        path: str = scope["path"]
        methods = self._table.get(path)
        if methods is not None:
            await _pick(methods, scope)(scope, receive, send)
        elif path.startswith(MODEL_PREFIX) and len(path) > len(MODEL_PREFIX):
            await _pick(_readable(self._models.one), scope)(scope, receive, send)
        elif path.startswith(API_PREFIX + "/"):
            await self._coordinate(scope, receive, send)
        elif path == upload.PATH and scope["method"] == "POST":
            await self._upload(scope, receive, send)
        elif path.startswith(_BATCH_PATHS) or path in _BATCH_LISTS:
            await self._coordinate(scope, receive, send)
        elif path == "/v1" or path.startswith("/v1/"):
            raise GatewayError("unsupported_endpoint")
        else:
            raise GatewayError("not_found")

    async def _coordinate(self, scope: asgi.Scope, receive: Receive, send: Send) -> None:
        """Read the body within our bounds, then let FastAPI have it."""
        limits = self._longer_bodies.get(scope["path"], self._api_limits)
        body = await read_body(scope, receive, limits)
        given = False

        async def replay() -> Event:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._coordination(_as_json(scope), replay, _with_request_id(scope, send))

    async def _answer_failure(self, error: Exception, scope: asgi.Scope, send: Send) -> None:
        request = asgi.request_id(scope)
        known = problem_of(error)
        if known is None:
            known = internal_error(request)
            _log.error(
                "request_failed",
                request=request,
                error=type(error).__name__,
                # Messages of unforeseen errors may quote a prompt; where they arose never does.
                where=[f"{f.filename}:{f.lineno} {f.name}" for f in _frames(error)],
            )
        self._metrics.error_answered(known.code)
        if _BEGUN in scope:
            # The server breaks it off, so that nobody takes it for whole: no more can be said.
            return
        closes = asgi.header(scope, b"expect") and asgi.CLOSE not in known.headers
        headers = (asgi.CLOSE,) if closes else ()
        await asgi.answer_error(send, known, request, headers)


def _as_json(scope: asgi.Scope) -> asgi.Scope:
    """Say that the body is JSON, as /v1 takes it, whatever a bare `curl -d` calls it."""
    others = [each for each in scope["headers"] if each[0] != asgi.JSON[0]]
    return {**scope, "headers": [*others, asgi.JSON]}


def _with_cors(app: App, origins: tuple[str, ...]) -> App | None:
    if not origins:
        return None
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
        allow_headers=("*",),
        expose_headers=_EXPOSED,
    )


def _pick(methods: dict[str, App], scope: asgi.Scope) -> App:
    found = methods.get(scope["method"])
    if found is None:
        allowed = ", ".join(methods).encode()
        raise GatewayError("method_not_allowed", headers=((b"allow", allowed),))
    return found


def _readable(endpoint: App) -> dict[str, App]:
    return {"GET": endpoint, "HEAD": endpoint}


def _frames(error: Exception) -> list[traceback.FrameSummary]:
    return traceback.extract_tb(error.__traceback__)[-12:]


def _for_api(limits: BodyLimits, size: int) -> BodyLimits:
    return BodyLimits(
        min(limits.size, size),
        min(limits.seconds, 30.0),
        limits.idle_seconds,
        limits.drain_bytes,
        limits.drain_seconds,
    )


def _with_request_id(scope: asgi.Scope, send: Send) -> Send:
    request = (b"x-request-id", asgi.request_id(scope).encode())

    async def send_with_id(event: Event) -> None:
        if event["type"] == "http.response.start":
            scope[_BEGUN] = True
            headers = event.get("headers", ())
            if request not in headers:
                event["headers"] = [*headers, request, asgi.NO_STORE]
        await send(event)

    return send_with_id


async def _lifespan(receive: Receive, send: Send) -> None:
    """Agree to start and stop; what the app stands on is opened and closed by the process."""
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return


__all__ = ["create_app"]
