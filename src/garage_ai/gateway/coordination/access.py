"""What the routes of `/api/v1` share: who may ask, and which errors are documented."""

import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from fastapi import Header
from starlette.requests import Request

from garage_ai.accounts import OPERATOR, Key, MemberId, MemberNotFound, Scope
from garage_ai.audit.models import Actor
from garage_ai.gateway.auth import Doorkeeper
from garage_ai.gateway.errors import PROBLEMS, Envelope
from garage_ai.storage import StorageError

IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r"^[!-~]{1,255}$",
        description="The same key with the same request makes the thing once.",
    ),
]

OnceKey = Annotated[
    str,
    Header(
        alias="idempotency-key",
        pattern=r"^[!-~]{1,100}$",
        description="The same key with the same request does it once.",
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
    "expired_api_key",
    "insufficient_scope",
    "member_suspended",
    "too_many_failures",
    "rate_limit_exceeded",
)

SECURITY: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
OPEN: Final[dict[str, Any]] = {"security": []}

# `openapi` adds the schema itself.
_ENVELOPE: Final = {"$ref": f"#/components/schemas/{Envelope.__name__}"}

Admitted = Callable[[Request], Awaitable[Key]]


def needs(doorkeeper: Doorkeeper, scope: Scope | None, *others: Scope) -> Admitted:
    """Make the dependency that lets in keys with one of these scopes, or any key for None."""

    async def admitted(request: Request) -> Key:
        key = doorkeeper.admit(request.scope, scope, *others)
        doorkeeper.count_call(request.scope, key)
        return key

    return admitted


async def heed(*looks: Callable[[], Awaitable[None]]) -> None:
    """Take over here what was just written, one after the other.

    What is told this one time is told whatever becomes of it: a database that went away since is
    looked at again within a second of its return.
    """
    with contextlib.suppress(StorageError):
        for look in looks:
            await look()


def acting(key: Key) -> Actor:
    """Name who acts, for the log."""
    return Actor.key(key.id, key.member)


def only(key: Key) -> MemberId | None:
    """Give the one member whose things a key may see and change; None for an administrator's."""
    return None if "admin" in key.scopes else key.member


def whose(key: Key, asked: str | None) -> MemberId:
    """Give the member that something is made for: who asks, or whom an administrator names.

    An administrator who names nobody means the operator. Raises: MemberNotFound.
    """
    if "admin" in key.scopes:
        return MemberId(asked) if asked is not None else OPERATOR
    if asked not in (None, key.member):
        raise MemberNotFound(f"no member {asked!r}")
    return key.member


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


__all__ = [
    "OPEN",
    "SECURITY",
    "Admitted",
    "IdempotencyKey",
    "OnceKey",
    "acting",
    "errors",
    "heed",
    "needs",
    "only",
    "whose",
]
