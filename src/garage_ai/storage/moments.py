"""What time it is where the database runs: the one clock that several gateways share."""

import time

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


async def seconds_now(connection: AsyncConnection) -> float:
    """Tell the seconds since 1970 at this statement, not at the transaction's beginning.

    SQLite runs where we run.
    """
    if connection.dialect.name == "sqlite":
        return time.time()
    now = await connection.execute(text("SELECT extract(epoch FROM clock_timestamp())"))
    return float(now.scalar_one())


__all__ = ["seconds_now"]
