"""What any gateway does for all in the background."""

import asyncio

import pytest
from tests.parts.money import A, grant

from garage_ai.ledger import Leases, Ledger, Projector
from garage_ai.ledger.books import LeaseId
from garage_ai.ledger.leases import Request, Wish
from garage_ai.storage import Storage

pytestmark = pytest.mark.anyio


async def test_all_that_a_gone_gateway_had_leased_comes_back_soon(
    ledger: Ledger, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many leases that is: a look takes some, and the next does not wait for its time."""
    monkeypatch.setattr("garage_ai.ledger.leases._SWEPT", 2)
    monkeypatch.setattr("garage_ai.ledger.projector.PAUSE_SECONDS", 0.02)
    await ledger.post([grant("g1", A, 1000)])
    gone = Leases(storage, "g1", seconds=-60)
    for number in range(5):
        await gone.extend([Request(LeaseId(f"l{number}"), A, Wish(10, 100, 100))])
    assert (await ledger.balance(A)).reserved == 500
    projector = Projector.start(storage, Leases(storage, "g2"))
    async with asyncio.timeout(10):
        while (await ledger.balance(A)).reserved:
            pass
    await projector.close()
    assert (await ledger.verify()).unaccounted_leases == 5
