"""Usage as the gateway's routes read it."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from tests.parts.money import record

from garage_ai.gateway.books import StoredUsage
from garage_ai.ledger import Ledger, Receipt
from garage_ai.storage import Storage

pytestmark = pytest.mark.anyio


async def test_sums_have_an_end_of_their_own(storage: Storage) -> None:
    """Who does not say since when is told of the last 31 days, who does of all that."""
    now = datetime.now(UTC)
    moments = {
        "today": now,
        "last_month": now - timedelta(days=30),
        "old": now - timedelta(days=40),
    }
    receipts = [Receipt(replace(record(name), at=at)) for name, at in moments.items()]
    await Ledger(storage).enter(receipts)
    usage = StoredUsage(storage)

    async def requests(since: datetime | None, until: datetime | None) -> int:
        return sum(total.requests for total in await usage.totals(since, until, "model"))

    assert await requests(None, None) == 2
    assert await requests(moments["old"], None) == 3
    assert await requests(None, moments["last_month"]) == 1
