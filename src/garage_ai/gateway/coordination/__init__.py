"""`/api/v1`, and `/v1` of files and batches, as a FastAPI application.

Errors are raised through to the edge, which writes them all; FastAPI's own become ours here.
"""

from typing import NoReturn

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp

from garage_ai import __version__
from garage_ai.gateway.auth import Doorkeeper
from garage_ai.gateway.coordination.accounts import account_routes
from garage_ai.gateway.coordination.audit import audit_routes
from garage_ai.gateway.coordination.batches import batch_routes, file_routes
from garage_ai.gateway.coordination.images import image_routes
from garage_ai.gateway.coordination.ledger import ledger_routes
from garage_ai.gateway.coordination.litellm import litellm_routes
from garage_ai.gateway.coordination.manifests import manifest_routes
from garage_ai.gateway.coordination.me import me_routes
from garage_ai.gateway.coordination.members import member_routes
from garage_ai.gateway.coordination.nodes import joining_routes, node_routes
from garage_ai.gateway.coordination.prices import price_routes
from garage_ai.gateway.coordination.usage import usage_routes
from garage_ai.gateway.errors import BadRequest, GatewayError
from garage_ai.gateway.services import Services

PREFIX = "/api/v1"


class Coordination(FastAPI):
    """FastAPI without the middleware that would answer unforeseen errors itself."""

    def build_middleware_stack(self) -> ASGIApp:
        """Turn FastAPI's own errors into ours, and let all others through."""
        inner = AsyncExitStackMiddleware(self.router)
        handlers = {HTTPException: _refused, RequestValidationError: _invalid}
        return ExceptionMiddleware(inner, handlers=handlers)


def create_coordination(services: Services, doorkeeper: Doorkeeper) -> Coordination:
    """Make the application; its paths stand in it whole."""
    app = Coordination(
        title="Garage AI",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    for routes in (
        joining_routes,
        node_routes,
        image_routes,
        manifest_routes,
        member_routes,
        me_routes,
        account_routes,
        usage_routes,
        audit_routes,
        ledger_routes,
        price_routes,
        litellm_routes,
    ):
        app.include_router(routes(services, doorkeeper), prefix=PREFIX)
    app.include_router(file_routes(services, doorkeeper))
    app.include_router(batch_routes(services, doorkeeper))
    return app


async def _refused(_: Request, error: Exception) -> NoReturn:
    """Say what Starlette refuses by itself: no such path, not that method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:
        allowed = (getattr(error, "headers", None) or {}).get("Allow", "")
        raise GatewayError("method_not_allowed", headers=((b"allow", allowed.encode()),))
    raise GatewayError({404: "not_found", 400: "invalid_json"}.get(status, "internal_error"))


async def _invalid(_: Request, error: Exception) -> NoReturn:
    """Name the first thing that is wrong; its value is never repeated."""
    found = error.errors()[0] if isinstance(error, RequestValidationError) else {}
    place, kind = found.get("loc", ()), str(found.get("type", ""))
    if kind == "json_invalid":
        raise BadRequest("invalid_json")
    param = ".".join(str(part) for part in place[1:]) or str(place[0] if place else "body")
    code = "missing_required_parameter" if kind == "missing" else "invalid_value"
    raise BadRequest(code, f"'{param[:200]}': {found.get('msg', 'invalid')}.", param=param[:200])


__all__ = ["PREFIX", "Coordination", "create_coordination"]
