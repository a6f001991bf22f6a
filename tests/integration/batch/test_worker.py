"""The worker over a real network and real books."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select
from tests.integration.batch.world import HOLD, PAYER, World
from tests.integration.network.conftest import MakeNode, until
from tests.integration.serving.test_service import KEY
from tests.parts.batch_room import AnyModel
from tests.parts.batches import counts, states
from tests.parts.scripted_node import Job, Script, answer_plainly

from garage_ai.accounts import KeyId, KeyRing, Leases, LimitBook, Limits, StoredPools
from garage_ai.batch import Batches, BatchId, ReservationRefused
from garage_ai.batch.worker import pauses as pauses_module
from garage_ai.batch.worker import window as window_module
from garage_ai.batch.worker import worker as worker_module
from garage_ai.batch.worker.fates import MAX_ATTEMPTS
from garage_ai.batch.worker.items import Item, Items, Line
from garage_ai.batch.worker.window import FAILURES
from garage_ai.gateway.batch_engines import Engines
from garage_ai.gateway.batching import Desk
from garage_ai.ledger import GAI
from garage_ai.storage.tables import batch_items
from garage_ai.wire.frames import Accepted, Data, End, Fail, Head

pytestmark = pytest.mark.anyio


async def never(job: Job) -> None:
    """Take a job and say nothing more."""
    job.say(Accepted())
    await job.cancelled.wait()


async def test_a_batch_is_answered_once_and_paid(world: World, make_node: MakeNode) -> None:
    """Each item has its line, its usage record and its part of the bill, and the rest goes back."""
    await make_node(slots=4)
    await world.submit("batch_1", ["hej"] * 20)
    world.work()
    lines = await world.over("batch_1")
    assert sorted(lines) == list(range(1, 21))
    for number, line in lines.items():
        assert (line["custom_id"], line["error"]) == (f"c{number}", None)
        response = line["response"]
        assert isinstance(response, dict)
        said = response["body"]["choices"][0]["message"]["content"]
        assert (response["status_code"], said) == (200, "hej")
    records, charged, paid = await world.sums()
    assert (records, charged) == (20, paid)
    assert paid % 20 == 0
    assert paid > 0
    balance = await world.ledger.balance(PAYER)
    assert (balance.amount, balance.reserved) == (GAI - paid, 20 * HOLD - paid)
    kept = Batches(world.storage, lambda: None)
    shown = await kept.get(KEY.member, "batch_1")
    assert (shown.charged, [shown]) == (paid, (await kept.list(KEY.member, 1)).batches)


async def test_no_item_costs_more_than_was_promised(world: World, make_node: MakeNode) -> None:
    """What was set aside for it is the most, whatever it turns out to be."""
    await make_node()
    await world.submit("batch_1", ["hej"] * 3, hold=7)
    world.work()
    await world.over("batch_1")
    assert (await world.sums())[1:] == (21, 21)


async def test_an_item_that_fails_is_tried_three_times(world: World, make_node: MakeNode) -> None:
    """Its line says why, as an answer would have; it costs nothing, and others go on."""
    node = await make_node()

    async def poisoned(job: Job) -> None:
        await job.arrived.wait()
        if b"poison" in job.body:
            job.say(Accepted(), Fail("bad_answer", "broken"))
        else:
            await answer_plainly(job)

    node.scripts = [poisoned]
    await world.submit("batch_1", ["hej", "poison", "hej"])
    world.work()
    lines = await world.over("batch_1")
    assert await states(world.storage, "batch_1") == {1: "done", 2: "failed", 3: "done"}
    response = lines[2]["response"]
    assert isinstance(response, dict)
    assert response["status_code"] == 502
    assert "attempt 3 of 3" in response["body"]["error"]["message"]
    records, charged, paid = await world.sums()
    assert (records, charged) == (3, paid)


async def full(job: Job) -> None:
    """Say that the engine has too much to do."""
    await job.arrived.wait()
    job.say(Accepted(), Head(503, ""), End())


async def limited(job: Job) -> None:
    """Say that the engine is asked too often."""
    await job.arrived.wait()
    job.say(Accepted(), Head(429, ""), End())


async def yielding(job: Job) -> None:
    """Hand a job back."""
    await job.arrived.wait()
    job.say(Accepted(), Fail("yielded"))


async def stopping(job: Job) -> None:
    """Hand a job back because the agent ends."""
    await job.arrived.wait()
    job.say(Accepted(), Fail("shutdown"))


async def unheard(job: Job) -> None:
    """Give a job up because its gateway was not heard."""
    await job.arrived.wait()
    job.say(Accepted(), Fail("gateway_silent"))


@pytest.mark.parametrize("script", [full, limited, yielding, stopping, unheard])
async def test_what_is_nobodys_fault_is_no_attempt(
    world: World, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    """However often it comes of it: the item waits, and is answered when it can be."""
    for module in (window_module, pauses_module):
        monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
        monkeypatch.setattr(module, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(worker_module, "WAIT_SECONDS", 0.0)
    node = await make_node()
    node.scripts = [*[script] * (2 * MAX_ATTEMPTS), answer_plainly]
    await world.submit("batch_1", ["hej"])
    world.work()
    (line,) = (await world.over("batch_1")).values()
    assert line["error"] is None
    assert await states(world.storage, "batch_1") == {1: "done"}
    assert len(node.jobs) == 2 * MAX_ATTEMPTS + 1
    async with world.storage.read() as connection:
        assert set(await connection.scalars(select(batch_items.c.attempts))) == {0}


async def test_an_engine_that_fails_at_all_is_asked_little(
    world: World, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than what was under way is spent on it, and all is answered once it is well."""
    for name in ("FIRST_FAILURE", "LONGEST_FAILURE"):
        monkeypatch.setattr(window_module, name, 1000.0)
    node = await make_node(slots=4)

    async def broken(job: Job) -> None:
        await job.arrived.wait()
        job.say(Accepted(), Head(500, ""), Data(b"{}"), End())

    node.scripts = [broken]
    await world.submit("batch_1", ["hej"] * 40)
    worker = world.work()
    await until(lambda: any(work.window.room(4, 0.0) == 0 for work in worker._rooms.works))
    await until(lambda: not worker.running)
    assert len(node.jobs) <= 6 + FAILURES
    assert (await counts(world.storage, "batch_1"))[1:] == (0, 0)
    node.scripts = [answer_plainly]
    (work,) = worker._rooms.works
    work.window._until = 0.0
    await world.over("batch_1")
    assert await counts(world.storage, "batch_1") == (40, 40, 0)


async def test_a_batch_that_fails_at_all_stops_no_other(
    world: World, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be its requests that fail: only it pauses, and the model's room is the others'."""
    for name in ("FIRST_FAILURE", "LONGEST_FAILURE"):
        monkeypatch.setattr(window_module, name, 1000.0)
    node = await make_node(slots=4)

    async def poisoned(job: Job) -> None:
        await job.arrived.wait()
        if b"poison" in job.body:
            job.say(Accepted(), Fail("bad_answer", "broken"))
        else:
            await answer_plainly(job)

    node.scripts = [poisoned]
    await world.submit("batch_0", ["poison"] * 20)
    await world.submit("batch_1", ["hej"] * 20)
    worker = world.work()
    assert len(await world.over("batch_1")) == 20
    assert await counts(world.storage, "batch_1") == (20, 20, 0)
    await worker.close()


async def test_no_room_is_no_attempt(world: World, make_node: MakeNode) -> None:
    """Items wait for a node, however long, and are answered when one comes."""
    await world.submit("batch_1", ["hej"] * 3)
    world.work()
    await until(lambda: not world.workers[0].running)
    await make_node()
    lines = await world.over("batch_1")
    assert len(lines) == 3
    async with world.storage.read() as connection:
        assert set(await connection.scalars(select(batch_items.c.attempts))) == {0}


async def test_what_nobody_serves_holds_up_no_other_batch(
    world: World, make_node: MakeNode
) -> None:
    """None of its items is begun: no node that may serve them has a slot for them."""
    await make_node(slots=2)
    elsewhere = replace(KEY, id=KeyId("key_2"), region="SE-AB")
    await world.submit("batch_0", ["hej"] * 40, key=elsewhere)
    await world.submit("batch_1", ["hej"] * 40)
    worker = world.work()
    assert len(await world.over("batch_1")) == 40
    await until(lambda: not worker.running)
    await world.leased("batch_0", 0)
    async with world.storage.read() as connection:
        tried = select(func.count()).where(batch_items.c.not_before.is_not(None))
        rows = (await connection.execute(tried)).scalar_one()
    assert rows == 0
    assert set((await states(world.storage, "batch_0")).values()) == {"queued"}


async def test_what_a_dead_worker_had_is_done_by_another(world: World, make_node: MakeNode) -> None:
    """Its leases run out; each item still has one line, one record and one bill."""
    node = await make_node(slots=8)
    stuck = asyncio.Event()

    async def never(job: Job) -> None:
        job.say(Accepted())
        stuck.set()
        await job.cancelled.wait()

    node.scripts = [never]
    await world.submit("batch_1", ["hej"] * 12)
    dead = world.work("w1", seconds=0.2)
    await stuck.wait()
    for task in [*dead._tasks, *dead._running]:
        task.cancel()
    await asyncio.wait([*dead._tasks, *dead._running])
    node.scripts = [answer_plainly]
    world.work("w2", seconds=0.2)
    assert len(await world.over("batch_1")) == 12
    records, charged, paid = await world.sums()
    assert (records, charged) == (12, paid)


async def test_a_fault_of_ours_ends_no_loop(
    world: World, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails in looking for items or in keeping leases is counted, and done again."""
    faults = [ValueError("slots"), ValueError("slots")]
    slots, renew, renewed = Engines.slots, Items.renew, asyncio.Event()

    def faulty_slots(room: Engines, line: Line) -> dict[str, int]:
        if faults:
            raise faults.pop()
        return slots(room, line)

    async def faulty_renew(items: Items, held: Sequence[Item]) -> list[Item]:
        if not renewed.is_set():
            renewed.set()
            raise ValueError("renew")
        return await renew(items, held)

    monkeypatch.setattr(Engines, "slots", faulty_slots)
    monkeypatch.setattr(Items, "renew", faulty_renew)
    await make_node()
    await world.submit("batch_1", ["hej"] * 3)
    worker = world.work(seconds=0.2)
    await renewed.wait()
    assert len(await world.over("batch_1")) == 3
    assert worker.failures == 3
    assert not any(task.done() for task in worker._tasks)


async def test_a_key_that_was_revoked_answers_nothing_more(
    world: World, make_node: MakeNode
) -> None:
    """Its items end with the reason, and nobody was asked."""
    await make_node()
    world.desk.refused = "revoked_api_key"
    await world.submit("batch_1", ["hej"] * 2)
    world.work()
    lines = await world.over("batch_1")
    assert {"revoked_api_key"} == {
        line["response"]["body"]["error"]["code"]  # type: ignore[index]
        for line in lines.values()
    }
    assert await world.sums() == (0, 0, 0)


@pytest.mark.parametrize("whose", ["key", "member"])
async def test_a_time_that_is_over_ends_what_is_left(
    world: World, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    """What was answered by then stays and is paid; the others end with the reason, unasked."""
    node, now = await make_node(slots=1), datetime.now(UTC)
    time = {"expires_at": now + timedelta(hours=1)}
    keys = await KeyRing.open(world.storage)
    made = await keys.create("k", KEY.member)
    book = await LimitBook.open(world.storage)
    if whose == "key":
        await book.change_key(made.key.id, time)
    else:
        await book.change_member(KEY.member, time)
    limits = Limits(book, Leases(StoredPools(world.storage), "g1"), clock=lambda: now)

    async def until_it_is_over(job: Job) -> None:
        nonlocal now
        now = now + timedelta(hours=2)
        await answer_plainly(job)

    node.scripts = [until_it_is_over]
    await world.submit("batch_1", ["hej"] * 6, key=made.key)
    desk = Desk(keys, AnyModel(), limits.check_expiry)
    monkeypatch.setattr(world.desk, "key", desk.key)
    world.work()
    lines = await world.over("batch_1")
    asked = len(node.jobs)
    told = [line["response"]["body"].get("error", {}).get("code") for line in lines.values()]  # type: ignore[index]
    assert told.count("expired_api_key") == 6 - asked
    assert 0 < asked < 6
    assert (await world.sums())[0] == asked
    await book.close()
    await keys.close()


async def test_a_member_that_is_suspended_waits(
    world: World, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is let in again within the window gets every answer, and nobody was asked before."""
    monkeypatch.setattr(pauses_module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(pauses_module, "LONGEST_PAUSE", 0.05)
    node = await make_node()
    world.desk.refused = "member_suspended"
    await world.submit("batch_1", ["hej"] * 3)
    world.work()
    await until(lambda: world.desk.asked >= 6)
    assert (await counts(world.storage, "batch_1"), node.jobs) == ((3, 0, 0), [])
    world.desk.refused = None
    await world.over("batch_1")
    assert await counts(world.storage, "batch_1") == (3, 3, 0)


async def test_a_worker_that_stops_gives_back(world: World, make_node: MakeNode) -> None:
    """What it had begun waits again at once, as if it had not been tried."""
    node = await make_node()
    node.scripts = [never]
    await world.submit("batch_1", ["hej"] * 5)
    worker = world.work()
    await until(lambda: bool(worker.running))
    await worker.close()
    assert set((await states(world.storage, "batch_1")).values()) == {"queued"}


async def test_a_cancelled_batch_begins_nothing_more(world: World, make_node: MakeNode) -> None:
    """What was claimed ahead goes back; what runs may still end."""
    node, go_on = await make_node(slots=4), asyncio.Event()

    async def in_time(job: Job) -> None:
        await go_on.wait()
        await answer_plainly(job)

    node.scripts = [in_time]
    await world.submit("batch_1", ["hej"] * 40)
    worker = world.work()
    await until(lambda: worker.running == 6)
    await world.leased("batch_1", 10)
    await world.change("batch_1", status="cancelling")
    await world.leased("batch_1", 6)
    go_on.set()
    await world.leased("batch_1", 0)
    assert await counts(world.storage, "batch_1") == (40, 6, 0)
    assert (await world.sums())[0] == 6


async def test_what_nobody_serves_any_more_is_held_by_nobody(
    world: World, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items that were claimed ahead go back to the queue, for whoever finds a node first."""
    node = await make_node(slots=4)
    node.scripts = [never]
    await world.submit("batch_1", ["hej"] * 40)
    worker = world.work()
    await until(lambda: worker.running == 6)
    await world.leased("batch_1", 10)
    monkeypatch.setattr(Engines, "slots", lambda _engines, _line: {})
    await world.leased("batch_1", lambda: worker.running)


async def test_what_would_be_refused_gives_its_slot_away(world: World, make_node: MakeNode) -> None:
    """Once a batch is being finalised its items stop, at the node too, and cost nothing."""
    node = await make_node()
    node.scripts = [never]
    await world.submit("batch_1", ["hej"] * 8)
    worker = world.work(seconds=0.3)
    await until(lambda: len(node.jobs) == 2)
    await world.change("batch_1", status="finalizing", finalizing_at=datetime.now(UTC))
    await until(lambda: not worker.running)
    await until(lambda: all(job.cancelled.is_set() for job in node.jobs))
    assert await world.sums() == (0, 0, 0)


async def test_a_batch_beyond_the_balance_is_refused(world: World) -> None:
    """And what is set aside for one that is over goes back, once."""
    await world.submit("batch_1", ["hej"] * 3)
    batch = await world.batch("batch_1")
    with pytest.raises(ReservationRefused) as refused:
        await world.promises.take(replace(batch, id=BatchId("batch_2"), reserved=2 * GAI))
    assert refused.value.code == "insufficient_quota"
    assert (await world.ledger.balance(PAYER)).reserved == 3 * HOLD
    for _ in range(2):
        await world.promises.take(batch)
    assert (await world.ledger.balance(PAYER)).reserved == 3 * HOLD
    for _ in range(2):
        await world.promises.release(batch)
    assert (await world.ledger.balance(PAYER)).reserved == 0
