"""Lists of what members have, page by page: oldest first, from behind one of them."""

from collections.abc import Sequence

from sqlalchemy import Row, Select, and_, or_
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.accounts.errors import NotFound


async def read_page(
    connection: AsyncConnection,
    wanted: Select[tuple[object, ...]],
    limit: int | None,
    after: str | None,
    missing: type[NotFound],
) -> Sequence[Row[tuple[object, ...]]]:
    """Read all rows that are wanted, or `limit` of them from behind the one with the id `after`.

    None of these tables ever loses a row, so that a page goes on where the last one ended.
    Raises: `missing` where none of the wanted has that id; StorageError.
    """
    created, own = wanted.selected_columns["created_at"], wanted.selected_columns["id"]
    page = wanted.order_by(created, own).limit(limit)
    if after is not None:
        last = (await connection.execute(wanted.where(own == after))).one_or_none()
        if last is None:
            raise missing(f"no {after!r} to begin behind")
        page = page.where(
            or_(created > last.created_at, and_(created == last.created_at, own > last.id))
        )
    return (await connection.execute(page)).all()


__all__ = ["read_page"]
