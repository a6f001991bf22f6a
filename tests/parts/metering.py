"""A count of tokens that is waited for."""

import asyncio
from collections.abc import Sequence

from garage_ai.ledger import Counted, Meter
from garage_ai.ledger.counting.clerk import result_of
from garage_ai.wire.frames import Route


async def count_with(
    meter: Meter, digest: str | None, route: Route, body: bytes, texts: Sequence[str]
) -> Counted:
    """Count what was asked and what was delivered."""
    found: asyncio.Future[Counted] = asyncio.get_running_loop().create_future()
    meter.begin(digest, route, body, texts, result_of(found))
    return await found
