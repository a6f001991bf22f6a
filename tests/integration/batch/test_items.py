"""Items in SQL, on both databases: one worker each, one end each."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Column, insert, select, update
from tests.parts.batches import add_batch, counts, now, states
from tests.parts.locks import until_somebody_waits
from tests.parts.money import A, grant, settlement, use

from garage_ai.accounts.erasure import erase_member
from garage_ai.batch import BatchId
from garage_ai.batch.worker import items as items_module
from garage_ai.batch.worker import statements
from garage_ai.batch.worker.items import LOST, Ended, Item, Items
from garage_ai.ledger import Leases, Ledger, Receipt, member_account
from garage_ai.ledger.books import LeaseId
from garage_ai.ledger.leases import Request, Wish
from garage_ai.storage import OPERATOR, KeyId, MemberId, Storage, UsageRecord
from garage_ai.storage.tables import batch_items, batches, leases, members, transfers, usage

pytestmark = pytest.mark.anyio


def items_of(storage: Storage, worker: str = "w1", seconds: float = 30.0) -> Items:
    return Items(storage, Ledger(storage), worker, seconds=seconds)


def record(item: Item) -> UsageRecord:
    return UsageRecord(
        request_id=item.request_id,
        at=datetime.now(UTC),
        member=OPERATOR,
        key_id=KeyId("key_1"),
        route="chat",
        model="small",
        digest=None,
        node="n1",
        outcome="ok",
        stream=False,
        prompt_tokens=3,
        completion_tokens=2,
        content_events=1,
        bytes_out=9,
        ttft_s=None,
        duration_s=0.1,
        attempts=1,
        charge=0,
    )


def ended(item: Item, result: bytes = b"{}", *, is_answer: bool = True) -> Ended:
    return Ended(item, is_answer, result, Receipt(record(item)))


async def run_out(storage: Storage) -> None:
    """Let every lease have ended a minute ago."""
    async with storage.write() as connection:
        moment = now() - timedelta(minutes=1)
        await connection.execute(update(batch_items).values(lease_until=moment))


async def column(storage: Storage, wanted: Column[object]) -> list[object]:
    async with storage.read() as connection:
        return list((await connection.execute(select(wanted))).scalars())


async def test_no_item_is_claimed_twice(storage: Storage) -> None:
    """Several workers at once get different items, each in order of the lines, and all of them."""
    await add_batch(storage, "batch_1", 100)
    workers = [items_of(storage, f"w{number}") for number in range(4)]
    found: list[Item] = []
    while await workers[0].waiting():
        rounds = await asyncio.gather(*(worker.claim({"batch_1": 7}) for worker in workers))
        for claimed in rounds:
            assert [each.line for each in claimed] == sorted(each.line for each in claimed)
            found += claimed
    assert sorted(item.line for item in found) == list(range(1, 101))
    assert {item.epoch for item in found} == {1}


async def test_what_waits_is_counted(storage: Storage) -> None:
    """By the earliest deadline; what is over, cancelled, or for later does not wait."""
    await add_batch(storage, "batch_late", 3, hours=20)
    await add_batch(storage, "batch_soon", 2, hours=1)
    await add_batch(storage, "batch_over", 2, hours=-1)
    await add_batch(storage, "batch_off", 2)
    items = items_of(storage)
    async with storage.write() as connection:
        off = update(batches).where(batches.c.id == "batch_off").values(status="cancelling")
        await connection.execute(off)
    [first] = await items.claim({"batch_late": 1})
    await items.again(first, now() + timedelta(hours=1))
    assert [(each.batch, each.items) for each in await items.waiting()] == [
        ("batch_soon", 2),
        ("batch_late", 2),
    ]
    assert await items.claim({"batch_off": 2}) == []
    await items.again((await items.claim({"batch_soon": 1}))[0], now() - timedelta(seconds=1))
    [again] = await items.claim({"batch_soon": 1})
    assert (again.line, again.attempts, again.epoch) == (1, 1, 2)


async def test_nobodys_batches_hide_those_of_others(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One member's many small ones are looked at some at a time, whatever their deadlines are."""
    monkeypatch.setattr(statements, "MOST_BATCHES", 4)
    monkeypatch.setattr(statements, "MOST_OF_ONE", 3)
    other = MemberId("mbr_1")
    async with storage.write() as connection:
        await connection.execute(insert(members).values(id=other, name="Anna", created_at=now()))
    for number in range(9):
        await add_batch(storage, f"batch_{number}", 1, hours=1 + number)
    for number in range(2):
        await add_batch(storage, f"batch_late_{number}", 2, member=other, key="key_2", hours=23)
    items = items_of(storage)
    assert [each.batch for each in await items.waiting()] == [
        "batch_0",
        "batch_late_0",
        "batch_1",
        "batch_late_1",
    ]
    assert {each.batch for each in await items.waiting(["key_1", "batch_late_0"])} == {
        "batch_late_1"
    }
    assert [each.batch for each in await items.waiting(["key_2", "batch_1"])] == [
        "batch_0",
        "batch_2",
        "batch_3",
    ]
    await items.claim({f"batch_{number}": 1 for number in range(8)})
    assert {each.batch for each in await items.waiting()} == {
        "batch_8",
        "batch_late_0",
        "batch_late_1",
    }


async def test_an_end_is_one_transaction(storage: Storage) -> None:
    """Line, usage, counts and what it cost are there together; a second end is refused."""
    ledger, lease = Ledger(storage), LeaseId("batch_1")
    await ledger.post([grant("g", A, 1000)])
    await Leases(storage, "batch").extend([Request(lease, A, Wish(200, 200, 200))])
    await add_batch(storage, "batch_1", 2, hold=100)
    items = items_of(storage)
    one, two = await items.claim({"batch_1": 2})
    paid = settlement(lease, use("use:1", A, member_account(OPERATOR), 60))
    ends = [Ended(one, True, b"1", Receipt(record(one), paid)), ended(two, b"2", is_answer=False)]
    assert await items.end(ends)
    assert not await items.end(ends[:1])
    assert await counts(storage, "batch_1") == (2, 1, 1)
    assert await states(storage, "batch_1") == {1: "done", 2: "failed"}
    assert await column(storage, batch_items.c.result) == [b"1", b"2"]
    assert None not in await column(storage, batch_items.c.finished_at)
    assert len(await column(storage, usage.c.request_id)) == 2
    assert await column(storage, transfers.c.amount) == [1000, 60]
    assert await column(storage, leases.c.settled) == [60]
    balance = await ledger.balance(A)
    assert (balance.amount, balance.reserved) == (940, 140)


async def test_what_a_lease_is_not_good_for_is_not_written(storage: Storage) -> None:
    """A batch's promise is closed: then none of it is there, and the item is still leased."""
    ledger, lease = Ledger(storage), LeaseId("batch_1")
    await ledger.post([grant("g", A, 1000)])
    promises = Leases(storage, "batch")
    await promises.extend([Request(lease, A, Wish(200, 200, 200))])
    await promises.close([lease])
    await add_batch(storage, "batch_1", 1, hold=100)
    items = items_of(storage)
    [one] = await items.claim({"batch_1": 1})
    paid = settlement(lease, use("use:1", A, member_account(OPERATOR), 60))
    assert not await items.end([Ended(one, True, b"1", Receipt(record(one), paid))])
    assert await items.is_mine(one)
    assert await column(storage, usage.c.request_id) == []


async def test_late_results_are_refused(storage: Storage) -> None:
    """A lease that ran out gives the item to another; what the first one brings is nobody's."""
    await add_batch(storage, "batch_1", 1)
    first, second = items_of(storage, "w1"), items_of(storage, "w2")
    [lost] = await first.claim({"batch_1": 1})
    await run_out(storage)
    assert await second.sweep() == []
    [found] = await second.claim({"batch_1": 1})
    assert (found.epoch, found.attempts) == (2, 0)
    assert not await first.is_mine(lost)
    assert not await first.end([ended(lost, b"late")])
    await first.put_back({lost: None})
    await first.again(lost, now())
    assert await second.end([ended(found, b"good")])
    assert not await first.end([ended(lost, b"late")])
    assert await column(storage, batch_items.c.result) == [b"good"]


async def test_a_result_in_time_counts_though_the_lease_ran_out(storage: Storage) -> None:
    """As long as nobody took the item back: a database that was away costs no work."""
    await add_batch(storage, "batch_1", 1)
    items = items_of(storage)
    [item] = await items.claim({"batch_1": 1})
    await run_out(storage)
    assert await items.end([ended(item)])
    assert await items.sweep() == []


async def test_who_renews_keeps(storage: Storage) -> None:
    """A renewal is of what a worker knows it has; what it was given unheard runs out."""
    await add_batch(storage, "batch_1", 3)
    first, second = items_of(storage, "w1"), items_of(storage, "w2")
    known = await first.claim({"batch_1": 1})
    await first.claim({"batch_1": 1})
    await second.claim({"batch_1": 1})
    await run_out(storage)
    assert await first.renew(known) == []
    await second.renew(known)
    await first.sweep()
    assert await states(storage, "batch_1") == {1: "leased", 2: "queued", 3: "queued"}
    await run_out(storage)
    await first.sweep()
    assert await first.renew(known) == known
    assert (await states(storage, "batch_1"))[1] == "queued"


@pytest.mark.parametrize("apart", [timedelta(minutes=-5), timedelta(minutes=5)])
async def test_a_lease_is_of_the_clock_that_all_share(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, apart: timedelta
) -> None:
    """A worker whose own clock is minutes off keeps its items, and takes nobody else's."""
    await add_batch(storage, "batch_1", 2)
    here, apart_from_all = items_of(storage, "w1"), items_of(storage, "w2")
    await here.claim({"batch_1": 1})
    with monkeypatch.context() as patched:
        patched.setattr(items_module, "_now", lambda: now() + apart)
        [item] = await apart_from_all.claim({"batch_1": 1})
        await apart_from_all.renew([item])
        await apart_from_all.sweep()
    await here.sweep()
    assert await states(storage, "batch_1") == {1: "leased", 2: "leased"}
    await run_out(storage)
    with monkeypatch.context() as patched:
        patched.setattr(items_module, "_now", lambda: now() + apart)
        await apart_from_all.sweep()
    assert await states(storage, "batch_1") == {1: "queued", 2: "queued"}


async def test_who_renews_hears_what_is_lost(storage: Storage) -> None:
    """What another has by now, and what is of a batch that is being finalised."""
    for name in ("batch_1", "batch_2", "batch_3"):
        await add_batch(storage, name, 1)
    first, second = items_of(storage, "w1"), items_of(storage, "w2")
    held = await first.claim({"batch_1": 1, "batch_2": 1, "batch_3": 1})
    await first.put_back({held[0]: None})
    await second.claim({"batch_1": 1})
    async with storage.write() as connection:
        over = update(batches).where(batches.c.id == "batch_2").values(finalizing_at=now())
        await connection.execute(over)
    assert await first.renew(held) == held[:2]
    assert await first.renew([]) == []


async def test_which_batches_go_on_is_told(storage: Storage) -> None:
    """Neither those that were cancelled nor those whose window is over."""
    await add_batch(storage, "batch_1", 1)
    await add_batch(storage, "batch_over", 1, hours=-1)
    await add_batch(storage, "batch_off", 1)
    async with storage.write() as connection:
        off = update(batches).where(batches.c.id == "batch_off").values(status="cancelling")
        await connection.execute(off)
    asked = [BatchId(name) for name in ("batch_1", "batch_over", "batch_off", "batch_none")]
    assert await items_of(storage).going_on(asked) == {"batch_1"}
    assert await items_of(storage).going_on([]) == set()


async def test_an_item_that_ends_every_worker_is_given_up(storage: Storage) -> None:
    """After LOST leases that ran out; its one line says so."""
    await add_batch(storage, "batch_1", 1)
    items = items_of(storage)
    for _ in range(LOST - 1):
        assert len(await items.claim({"batch_1": 1})) == 1
        await run_out(storage)
        assert await items.sweep() == []
    [last] = await items.claim({"batch_1": 1})
    await run_out(storage)
    [lost] = await items.sweep()
    assert (lost.losses, lost.custom_id) == (LOST, "c1")
    assert await items.give_up(lost, b"lost")
    assert not await items.give_up(lost, b"lost")
    assert not await items.end([ended(last)])
    assert await counts(storage, "batch_1") == (1, 0, 1)


async def test_who_finds_no_room_is_never_given_up(storage: Storage) -> None:
    """However often it was claimed: only leases that ran out are losses."""
    await add_batch(storage, "batch_1", 1)
    items = items_of(storage)
    for _ in range(LOST + 1):
        await items.put_back(dict.fromkeys(await items.claim({"batch_1": 1})))
    [item] = await items.claim({"batch_1": 1})
    await run_out(storage)
    assert await items.sweep() == []
    assert await states(storage, "batch_1") == {1: "queued"}
    assert item.epoch > LOST


async def test_what_is_put_back_was_no_attempt(storage: Storage) -> None:
    """No room is nobody's fault; what has to wait until a moment lets others go first."""
    await add_batch(storage, "batch_1", 3)
    items = items_of(storage)
    first, second, third = await items.claim({"batch_1": 3})
    await items.put_back({first: now() + timedelta(hours=1), second: None, third: None})
    [again] = await items.claim({"batch_1": 1})
    assert (again.line, again.attempts) == (2, 0)
    await items.put_back({again: None})
    async with storage.write() as connection:
        await connection.execute(update(batch_items).values(not_before=now()))
    await items.put_back(dict.fromkeys(await items.claim({"batch_1": 3})))
    assert [each.attempts for each in await items.claim({"batch_1": 3})] == [0, 0, 0]


async def test_a_batch_that_is_finalised_takes_no_more(storage: Storage) -> None:
    """Its files hold what was there before; a result that comes then would be in none."""
    await add_batch(storage, "batch_1", 1)
    items = items_of(storage)
    [item] = await items.claim({"batch_1": 1})
    async with storage.write() as connection:
        await connection.execute(update(batches).values(status="finalizing", finalizing_at=now()))
    assert not await items.end([ended(item)])
    assert await states(storage, "batch_1") == {1: "leased"}


async def test_items_end_while_their_member_is_erased(storage: Storage) -> None:
    """Several batches are changed in the order of their ids, however they lie: nobody waits."""
    for batch in ("batch_2", "batch_1"):
        await add_batch(storage, batch, 1)
    items = items_of(storage)
    claimed = await items.claim({"batch_1": 1, "batch_2": 1})

    async def erase() -> None:
        async with storage.write(in_turn=True) as connection:
            await erase_member(connection, OPERATOR, now())

    async with storage.write() as connection:
        first = select(batches.c.id).where(batches.c.id == "batch_1")
        await connection.execute(first.with_for_update())
        ending = asyncio.create_task(items.end([ended(item) for item in claimed]))
        await until_somebody_waits(connection)
        erasing = asyncio.create_task(erase())
        await until_somebody_waits(connection, 2)
    assert await ending
    await erasing
    assert [await counts(storage, each) for each in ("batch_1", "batch_2")] == [(1, 1, 0)] * 2
