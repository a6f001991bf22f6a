"""What the routes of `/api/v1` share: who may ask, and which errors are documented."""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from fastapi import Header
from starlette.requests import Request

from garage_ai.accounts import Key, Scope
from garage_ai.gateway.auth import Doorkeeper
from garage_ai.gateway.errors import PROBLEMS, Envelope

IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r"^[!-~]{1,255}$",
        description="The same key with the same request makes the thing once.",
    ),
]

_ALWAYS: Final = (
    "invalid_value",
    "missing_required_parameter",
    "invalid_json",
    "request_timeout",
    "body_too_large",
    "headers_too_large",
    "internal_error",
    "storage_unavailable",
)
_WITH_KEY: Final = (
    "invalid_api_key",
    "revoked_api_key",
    "insufficient_scope",
    "too_many_failures",
)

SECURITY: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
OPEN: Final[dict[str, Any]] = {"security": []}

# `openapi` adds the schema itself.
_ENVELOPE: Final = {"$ref": f"#/components/schemas/{Envelope.__name__}"}

Admitted = Callable[[Request], Awaitable[Key]]


def needs(doorkeeper: Doorkeeper, scope: Scope | None) -> Admitted:
    """Make the dependency that lets in keys with this scope, or any key for None."""

    async def admitted(request: Request) -> Key:
        return doorkeeper.admit(request.scope, scope)

    return admitted


def errors(*codes: str, key: bool = True) -> dict[int | str, dict[str, Any]]:
    """Document the errors of a route: those named, and those that any route can give."""
    by_status: defaultdict[int, list[str]] = defaultdict(list)
    for code in dict.fromkeys((*codes, *(_WITH_KEY if key else ()), *_ALWAYS)):
        by_status[PROBLEMS[code].status].append(code)
    return {
        status: {
            "description": "; ".join(f"`{c}`: {PROBLEMS[c].meaning}" for c in named),
            "content": {"application/json": {"schema": _ENVELOPE}},
        }
        for status, named in sorted(by_status.items())
    }


__all__ = ["OPEN", "SECURITY", "IdempotencyKey", "errors", "needs"]
