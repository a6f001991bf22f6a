"""Writes that hold only if every row of them does: all or nothing, in one go."""

import asyncio

import pytest
from sqlalchemy import bindparam, select, update

from garage_ai.storage import Change, ConstraintViolated, Storage, UsageRows
from garage_ai.storage.tables import balances

pytestmark = pytest.mark.anyio

_COLUMNS = ("account", "amount", "leased", "entries")
_MOVED = (
    update(balances)
    .where(balances.c.account == bindparam("row"), balances.c.amount >= bindparam("least"))
    .values(amount=balances.c.amount + bindparam("amount"))
)


def new(storage: Storage, *accounts: str) -> Change:
    rows = [(account, 100, 0, 0) for account in accounts]
    return storage.new_rows(balances, _COLUMNS).change(rows)


def moved(storage: Storage, *rows: tuple[str, int, int]) -> Change:
    return storage.row_change(_MOVED, ("row", "amount", "least")).change(rows)


async def amounts(storage: Storage) -> dict[str, int]:
    async with storage.read() as connection:
        rows = await connection.execute(select(balances.c.account, balances.c.amount))
        return {row.account: row.amount for row in rows}


async def test_all_changes_are_written(storage: Storage) -> None:
    """Rows that are new and rows that change are there together."""
    locked = storage.row_lock(balances.c.account)
    assert await storage.write_exactly([new(storage, "b", "A", "c")])
    changes = [
        locked.change(["A", "b"]),
        moved(storage, ("A", 5, 0), ("b", -5, 100)),
        moved(storage, ("c", 1, 0)),
        new(storage, "d"),
    ]
    assert await storage.write_exactly(changes)
    assert await amounts(storage) == {"A": 105, "b": 95, "c": 101, "d": 100}


@pytest.mark.parametrize(
    "odd", [("c", 1, 0), ("b", 1, 101)], ids=["no such row", "a condition that does not hold"]
)
async def test_one_row_that_is_not_written_stops_all(
    storage: Storage, odd: tuple[str, int, int]
) -> None:
    """What was written before it is taken back, and the connection serves the next."""
    assert await storage.write_exactly([new(storage, "a", "b")])
    assert not await storage.write_exactly([moved(storage, ("a", 5, 0), odd), new(storage, "d")])
    assert not await storage.write_exactly([moved(storage, ("a", 5, 0)), moved(storage, odd)])
    assert await amounts(storage) == {"a": 100, "b": 100}
    assert await storage.write_exactly([moved(storage, ("a", 5, 0))])


async def test_a_row_that_is_there_already_stops_all(storage: Storage) -> None:
    """An insert that would pass over a row writes nothing."""
    assert await storage.write_exactly([new(storage, "a")])
    assert not await storage.write_exactly([moved(storage, ("a", 5, 0)), new(storage, "b", "a")])
    assert await amounts(storage) == {"a": 100}


async def test_nothing_to_change_is_done(storage: Storage) -> None:
    """Changes without rows hold."""
    nothing = [new(storage), moved(storage), UsageRows(storage).change([])]
    assert await storage.write_exactly(nothing)
    assert await storage.write_exactly([])


async def test_a_refused_value_leaves_nothing_behind(storage: Storage) -> None:
    """An error in the middle takes back what was before it, and the connection serves the next."""
    assert await storage.write_exactly([new(storage, "a")])
    none = storage.new_rows(balances, _COLUMNS).change([("b", None, 0, 0)])
    with pytest.raises(ConstraintViolated):
        await storage.write_exactly([moved(storage, ("a", 5, 0)), none])
    assert await amounts(storage) == {"a": 100}
    assert await storage.write_exactly([moved(storage, ("a", 5, 0))])


async def test_a_write_that_is_cut_off_is_whole_or_nothing(storage: Storage) -> None:
    """Wherever it is cancelled, both rows have changed or none, and the next write goes on."""
    assert await storage.write_exactly([new(storage, "a", "b")])
    for number in range(20):
        both = moved(storage, ("a", 1, 0), ("b", 1, 0))
        task = asyncio.create_task(storage.write_exactly([both]))
        for _ in range(number):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert await storage.write_exactly([moved(storage, ("a", 0, 0))])
        found = await amounts(storage)
        assert found["a"] == found["b"]


async def test_many_writers_of_one_row_come_one_after_another(storage: Storage) -> None:
    """No change is lost, and rows named in different orders are no trap."""
    assert await storage.write_exactly([new(storage, "a", "B", "c")])
    locked = storage.row_lock(balances.c.account)

    async def change(names: list[str]) -> bool:
        rows = [(name, 1, 0) for name in names]
        return await storage.write_exactly([locked.change(names), moved(storage, *rows)])

    orders = [["a", "B", "c"], ["c", "B", "a"], ["B", "a", "c"], ["c", "a", "B"]]
    assert all(await asyncio.gather(*(change(orders[n % 4]) for n in range(40))))
    assert await amounts(storage) == {"a": 140, "B": 140, "c": 140}
