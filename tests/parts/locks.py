"""Transactions that stand before rows of others."""

import asyncio

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_WAITING = text("SELECT count(*) FROM pg_locks WHERE NOT granted")


async def until_somebody_waits(connection: AsyncConnection, number: int = 1) -> None:
    """Wait for so many others to stand before a row, or each other; SQLite has one at a time."""
    async with asyncio.timeout(20):
        while (  # noqa: ASYNC110  # the server tells nobody
            connection.dialect.name == "postgresql"
            and (await connection.scalar(_WAITING) or 0) < number
        ):
            await asyncio.sleep(0.005)
