"""How much one member may make: nobody fills the database, or every gateway's memory, with keys."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.accounts.errors import TooManyMade
from garage_ai.storage import OPERATOR, MemberId

MOST: Final = 100
"""Keys, and as many tokens, of a member: more than anybody has programs or PCs."""

_LATELY: Final = timedelta(days=1)


async def require_room(
    connection: AsyncConnection,
    table: Table,
    works: ColumnElement[bool],
    member: MemberId,
    now: datetime,
) -> None:
    """Refuse a row just made where a member has too many: that work, or were made within a day.

    The operator's have no bound. Raises: TooManyMade.
    """
    counts = works | (table.c.created_at > now - _LATELY)
    made = select(func.count()).where(table.c.member_id == member, counts)
    if member != OPERATOR and (await connection.scalar(made) or 0) > MOST:
        raise TooManyMade(f"a member has at most {MOST} of them")


__all__ = ["MOST", "require_room"]
