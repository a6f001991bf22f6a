"""The writer of ends goes on, whatever the database says and whenever."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy import update
from tests.integration.batch.test_items import ended, items_of, record
from tests.integration.network.conftest import until
from tests.parts.batches import add_batch, counts, now, states
from tests.parts.money import A, settlement, use

from garage_ai.batch.worker import ender as ender_module
from garage_ai.batch.worker.ender import Ender
from garage_ai.batch.worker.items import Ended, Item, Items
from garage_ai.ledger import Ledger, Receipt, member_account
from garage_ai.ledger.books import LeaseId
from garage_ai.storage import OPERATOR, ConstraintViolated, Storage
from garage_ai.storage.errors import StorageTimeout
from garage_ai.storage.tables import batches

pytestmark = pytest.mark.anyio

PAID = settlement(LeaseId("batch_1"), use("use:1", A, member_account(OPERATOR), 60))


def billed(item: Item) -> Ended:
    """End an item that cost something."""
    return replace(ended(item), receipt=Receipt(record(item), PAID))


class Failing(Items):
    """Items whose database fails as is said beforehand."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage, Ledger(storage), "w1")
        self.ends: list[Exception] = []
        self.looks: list[Exception] = []

    async def end(self, ended: Sequence[Ended]) -> bool:
        if self.ends:
            raise self.ends.pop()
        return await super().end(ended)

    async def is_mine(self, item: Item) -> bool:
        if self.looks:
            raise self.looks.pop()
        return await super().is_mine(item)


@pytest.fixture
def items(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Failing:
    monkeypatch.setattr(ender_module, "_FIRST_PAUSE", 0.001)
    return Failing(storage)


async def test_a_database_that_is_away_delays_every_step(storage: Storage, items: Failing) -> None:
    """Also the look at whose an end is that cannot be written: what comes later is written."""
    await add_batch(storage, "batch_1", 3)
    lost, *rest = await items.claim({"batch_1": 3})
    await items.put_back({lost: None})
    items.ends = [ConstraintViolated("no"), StorageTimeout("away")]
    items.looks = [StorageTimeout("away"), StorageTimeout("away")]
    ender = Ender.start(items)
    ender.put(billed(lost))
    await until(lambda: not ender.waiting)
    for item in rest:
        ender.put(ended(item))
    await until(lambda: not ender.waiting)
    await ender.close()
    assert (ender.counts.written, ender.counts.late, ender.counts.retries) == (2, 1, 3)
    assert await counts(storage, "batch_1") == (3, 2, 0)


async def test_a_fault_of_ours_costs_no_other_end(storage: Storage, items: Failing) -> None:
    """What nobody foresaw is one end that is not written; its lease runs out."""
    await add_batch(storage, "batch_1", 2)
    one, two = await items.claim({"batch_1": 2})
    items.ends = [ValueError("a fault")]
    ender = Ender.start(items)
    ender.put(ended(one))
    await until(lambda: not ender.waiting)
    ender.put(ended(two))
    await until(lambda: not ender.waiting)
    await ender.close()
    assert (ender.counts.written, ender.counts.late) == (1, 1)
    assert await states(storage, "batch_1") == {1: "leased", 2: "done"}


async def test_what_comes_after_the_end_is_late_and_not_unbilled(storage: Storage) -> None:
    """Its batch is being finalised: no books have refused it, and it costs nobody anything."""
    await add_batch(storage, "batch_1", 1)
    items = items_of(storage)
    [item] = await items.claim({"batch_1": 1})
    async with storage.write() as connection:
        await connection.execute(update(batches).values(finalizing_at=now()))
    ender = Ender.start(items)
    ender.put(billed(item))
    await until(lambda: not ender.waiting)
    await ender.close()
    assert (ender.counts.written, ender.counts.late, ender.counts.unbilled) == (0, 1, 0)


async def test_what_the_books_refuse_is_told_all_the_same(storage: Storage) -> None:
    """Nobody promised it: the member has the answer, and it is counted what is missing."""
    await add_batch(storage, "batch_1", 1)
    items = items_of(storage)
    [item] = await items.claim({"batch_1": 1})
    ender = Ender.start(items)
    ender.put(billed(item))
    await until(lambda: not ender.waiting)
    await ender.close()
    assert (ender.counts.written, ender.counts.late, ender.counts.unbilled) == (1, 0, 60)
    assert await states(storage, "batch_1") == {1: "done"}


async def test_ends_are_written_together(storage: Storage) -> None:
    """And one that is somebody else's by now takes none of them with it."""
    await add_batch(storage, "batch_1", 9)
    items = items_of(storage)
    claimed = await items.claim({"batch_1": 9})
    await items.put_back({claimed[4]: None})
    ender = Ender.start(items)
    for item in claimed:
        ender.put(ended(item))
    await until(lambda: not ender.waiting)
    await ender.close()
    assert (ender.counts.written, ender.counts.late) == (8, 1)
    assert (await states(storage, "batch_1"))[5] == "queued"
