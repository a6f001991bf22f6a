"""The ledger: what accounts have, how that came about, and whether the books are sound."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query
from starlette.responses import StreamingResponse

from garage_ai.accounts import Key
from garage_ai.gateway.auth import Doorkeeper
from garage_ai.gateway.coordination import ledger_schemas as schemas
from garage_ai.gateway.coordination.access import SECURITY, Admitted, acting, errors, needs, only
from garage_ai.gateway.errors import GatewayError
from garage_ai.gateway.services import Services
from garage_ai.ledger import (
    ADJUSTMENTS,
    AccountId,
    Kind,
    NanoGai,
    Transfer,
    class_of,
    member_account,
)
from garage_ai.ledger.export import EXPORTS
from garage_ai.ledger.models import member_of, node_of

AccountQuery = Annotated[
    schemas.Account | None, Query(description="The key's own member if not given.")
]
ExportedQuery = Annotated[
    schemas.Account | None,
    Query(description="All accounts if not given; for a member's key the own one."),
]
AdjustmentKey = Annotated[
    str,
    Header(
        alias="idempotency-key",
        pattern=r"^[!-~]{1,150}$",
        description="The same key with the same request adjusts once.",
    ),
]

_TYPES: Final = {
    "beancount": "text/plain; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
}

_CONTENT: Final[dict[str, Any]] = {
    "text/plain": {"schema": {"type": "string"}},
    "text/csv": {"schema": {"type": "string"}},
    "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
}


def ledger_routes(services: Services, doorkeeper: Doorkeeper) -> APIRouter:
    """Make the routes of the ledger."""
    routes = APIRouter(prefix="/ledger", tags=["ledger"])
    admin = needs(doorkeeper, "admin")
    routes.include_router(_own_routes(services, doorkeeper))
    routes.include_router(_admin_routes(services, admin), dependencies=[Depends(admin)])
    return routes


def _own_routes(services: Services, doorkeeper: Doorkeeper) -> APIRouter:
    routes = APIRouter()
    any_key = Depends(needs(doorkeeper, None))

    @routes.get("/balance", responses=errors("invalid_transfer"), openapi_extra=SECURITY)
    async def balance(
        key: Annotated[Key, any_key], account: AccountQuery = None
    ) -> schemas.BalanceGiven:
        """Tell what an account has: the own one, an own node's escrow, for administrators any."""
        seen = await _seen_by(services, key, account)
        return schemas.BalanceGiven.of(await services.ledger.balance(seen))

    @routes.get("/statement", responses=errors("invalid_transfer"), openapi_extra=SECURITY)
    async def statement(
        key: Annotated[Key, any_key],
        account: AccountQuery = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        before: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
    ) -> schemas.StatementGiven:
        """List an account's entries: of those whose balance the key may see."""
        seen = await _seen_by(services, key, account)
        return schemas.StatementGiven.of(await services.ledger.statement(seen, limit, before))

    @routes.get(
        "/export",
        response_class=StreamingResponse,
        responses={200: {"content": _CONTENT}, **errors("invalid_transfer")},
        openapi_extra=SECURITY,
    )
    async def export(
        key: Annotated[Key, any_key],
        account: ExportedQuery = None,
        form: Annotated[schemas.ExportAsked, Query(alias="format")] = "beancount",
    ) -> StreamingResponse:
        """Write entries, oldest first: for `bean-check`, a table, or a program."""
        everything = account is None and only(key) is None
        seen = None if everything else await _seen_by(services, key, account)
        entries = services.ledger.entries(seen)
        return StreamingResponse(EXPORTS[form](entries), media_type=_TYPES[form])

    return routes


def _admin_routes(services: Services, admin: Admitted) -> APIRouter:
    routes = APIRouter()
    ledger = services.ledger

    @routes.get("/verify", responses=errors(), openapi_extra=SECURITY)
    async def verify() -> schemas.VerificationGiven:
        """Check the whole books from the first entry; takes a minute for some million."""
        return schemas.VerificationGiven.of(await ledger.verify())

    @routes.post(
        "/adjustments",
        status_code=201,
        responses=errors(
            "invalid_transfer",
            "transfer_conflict",
            "overdraft",
            "member_not_found",
            "node_not_found",
        ),
        openapi_extra=SECURITY,
    )
    async def adjust(
        asked: schemas.AdjustmentAsked,
        idempotency_key: AdjustmentKey,
        key: Annotated[Key, Depends(admin)],
    ) -> schemas.TransferGiven:
        """Put something right by an entry of its own; nothing is ever changed or taken out."""
        adjustment = _adjustment(asked, idempotency_key)
        await _check_owner(services, AccountId(asked.account))
        await ledger.post([adjustment], by=acting(key))
        return schemas.TransferGiven.of(adjustment)

    return routes


async def give_grant(services: Services, key: Key) -> None:
    """Give the month's grant to who looks at what it has; an administrator looks for others."""
    if only(key) is not None:
        await services.grants.give(key.member)


async def _seen_by(services: Services, key: Key, account: str | None) -> AccountId:
    """Give the account that is asked about, if the key may see it."""
    own = member_account(key.member)
    if account is None or account == own:
        await give_grant(services, key)
        return own
    if "admin" not in key.scopes and not await _is_held_back_of(services, key, account):
        raise GatewayError("insufficient_scope", "Another account is shown to administrators.")
    class_of(AccountId(account))
    return AccountId(account)


async def _is_held_back_of(services: Services, key: Key, account: str) -> bool:
    """Tell whether an account holds back what a node of the key's member earned, removed or not."""
    node = node_of(AccountId(account))
    return node is not None and await services.rewards.owner(node) == key.member


async def _check_owner(services: Services, account: AccountId) -> None:
    """Refuse an account of nobody: one comes about by its first entry, whatever its name."""
    owner, node = member_of(account), node_of(account)
    if owner is not None:
        await services.members.get(owner)
    if node is not None and await services.rewards.owner(node) is None:
        raise GatewayError("node_not_found", f"There is no node {node!r}.", param="account")


def _adjustment(asked: schemas.AdjustmentAsked, key: str) -> Transfer:
    amount, account = int(asked.amount), AccountId(asked.account)
    debit, credit = (ADJUSTMENTS, account) if amount > 0 else (account, ADJUSTMENTS)
    return Transfer(
        f"adjustment:{key}",
        Kind.ADJUSTMENT,
        debit,
        credit,
        NanoGai(abs(amount)),
        datetime.now(UTC),
        note=asked.reason,
    )


__all__ = ["give_grant", "ledger_routes"]
