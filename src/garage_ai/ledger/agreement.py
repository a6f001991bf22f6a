"""Whether what is kept beside the entries says the same as they do.

A usage record has its charge, a reward that was posted its transfer, and a lease of a gateway that
was gone what is told to be unaccounted. Each is written in one transaction with its counterpart, or
after it.
"""

from collections.abc import AsyncIterator
from typing import Final

from sqlalchemy import case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.ledger.models import Kind
from garage_ai.storage.tables import leases, rewards, transfers, unaccounted, usage

_BILLED: Final = (Kind.USE, Kind.FEE, Kind.UNMETERED)
"""Of what a request's charge is made."""

_bills = (
    select(transfers.c.request_id, func.sum(transfers.c.amount).label("amount"))
    .where(transfers.c.kind.in_(_BILLED))
    .group_by(transfers.c.request_id)
    .subquery()
)
_charged = func.coalesce(usage.c.charge, 0)
_entered = func.coalesce(_bills.c.amount, 0)
_CHARGES: Final = (
    select(usage.c.request_id, _charged, _entered)
    .outerjoin_from(usage, _bills, _bills.c.request_id == usage.c.request_id)
    .where(_charged != _entered)
)

# Of one whose account had nothing to give any more the amount is nothing, and so is its transfer.
_REWARDS: Final = (
    select(rewards.c.id)
    .outerjoin_from(rewards, transfers, transfers.c.id == rewards.c.id)
    .where(
        rewards.c.posted_at.is_not(None),
        rewards.c.amount > 0,
        or_(
            transfers.c.id.is_(None),
            *(transfers.c[name] != rewards.c[name] for name in ("kind", "debit", "credit")),
            transfers.c.amount != rewards.c.amount,
        ),
    )
)

# Leases are forgotten some days after their end; what they left behind is kept for good.
_rest = case((leases.c.state == "expired", leases.c.amount - leases.c.settled), else_=0)
_told = func.coalesce(unaccounted.c.amount, 0)
_LEFT: Final = (
    select(leases.c.id, _rest, _told)
    .outerjoin_from(leases, unaccounted, unaccounted.c.lease == leases.c.id)
    .where(
        or_(
            _rest != _told,
            *(unaccounted.c[name] != leases.c[name] for name in ("payer", "gateway")),
        )
    )
)


async def disagreements(connection: AsyncConnection) -> AsyncIterator[tuple[str, str]]:
    """Give what does not agree with the entries and leases: which row, and what is wrong."""
    async for request, charged, entered in await connection.stream(_CHARGES):
        yield f"usage {request}", f"tells a charge of {charged} nGAI, {int(entered)} are entered"
    async for (reward,) in await connection.stream(_REWARDS):
        yield f"reward {reward}", "is posted, and no such transfer is there"
    async for lease, rest, told in await connection.stream(_LEFT):
        yield f"lease {lease}", f"left {rest} nGAI unaccounted to its payer, told are {told}"


__all__ = ["disagreements"]
