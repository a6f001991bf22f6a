"""Somebody may always administer a network: no key ends the last one that may."""

from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.accounts.errors import LastAdminKey
from garage_ai.audit.models import Actor
from garage_ai.storage.tables import keys, limits, members

_OF_KEY, _OF_MEMBER = limits.alias("of_key"), limits.alias("of_member")

_ADMINISTER: Final = (
    select(keys.c.id)
    .join(members, members.c.id == keys.c.member_id)
    .outerjoin(_OF_KEY, _OF_KEY.c.subject == keys.c.id)
    .outerjoin(_OF_MEMBER, _OF_MEMBER.c.subject == keys.c.member_id)
    .where(
        keys.c.scopes.startswith("admin"),  # they are sorted
        keys.c.revoked_at.is_(None),
        members.c.suspended_at.is_(None),
    )
    .limit(1)
)


async def require_another_admin(
    connection: AsyncConnection,
    by: Actor,
    ending: ColumnElement[bool],
    now: datetime,
    ends_at: datetime | None = None,
) -> None:
    """Refuse that a key ends some keys, if nobody could administer the network then.

    `ends_at` is when they end, now if not given. The transaction that ends them has its turn. What
    is done at the
    gateway's own machine is not refused: a new key is made there. Raises: LastAdminKey.
    """
    if by.kind != "key":
        return
    at = now if ends_at is None else max(now, ends_at)
    if await connection.scalar(_ADMINISTER.where(ending, _lasts(now))) is None:
        return
    if await connection.scalar(_ADMINISTER.where(~ending, _lasts(at))) is None:
        raise LastAdminKey("no other key may administer this network then; make one first")


def _lasts(at: datetime) -> ColumnElement[bool]:
    """Find keys whose time, and whose member's, goes on beyond a moment."""
    ends = (each.c.expires_at for each in (_OF_KEY, _OF_MEMBER))
    return and_(*(or_(end.is_(None), end > at) for end in ends))


__all__ = ["require_another_admin"]
