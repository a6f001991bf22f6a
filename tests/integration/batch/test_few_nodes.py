"""Batches that not every node may serve, in a worker that runs."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.integration.batch.world import World
from tests.integration.network.conftest import MakeNode, until
from tests.integration.serving.test_service import KEY
from tests.parts.batches import counts
from tests.parts.scripted_node import Job, answer_plainly
from tests.parts.unbilled import NoLimits

from garage_ai.accounts import KeyId
from garage_ai.batch import BatchId
from garage_ai.batch.worker.window import filled
from garage_ai.network.network import Network
from garage_ai.storage import MemberId
from garage_ai.storage.tables import members

pytestmark = pytest.mark.anyio

BOUND = replace(KEY, region="SE-AB")
BERT = replace(KEY, id=KeyId("key_2"), member=MemberId("mbr_2"))


async def test_a_key_of_one_region_keeps_nobody_from_the_other_nodes(
    world: World, make_node: MakeNode
) -> None:
    """Anna's items wait for the one node that may serve them; Bert's go on with all others."""
    here, there = await make_node("n0", region="SE-AB", slots=1), await make_node("n1", slots=6)
    turn, most = asyncio.Semaphore(0), 0

    async def slowly(job: Job) -> None:
        await turn.acquire()
        await answer_plainly(job)

    async def answer(job: Job) -> None:
        nonlocal most
        batches = [each.queue.batch for each in worker._running.values()]
        most = max(most, batches.count(BatchId("batch_1")))
        if len(there.jobs) % 6 == 0:
            turn.release()
        await answer_plainly(job)

    here.scripts, there.scripts = [slowly], [answer]
    async with world.storage.write() as connection:
        row = {"id": BERT.member, "name": "Bert", "created_at": datetime.now(UTC)}
        await connection.execute(members.insert().values(row))
    await world.submit("batch_1", ["anna"] * 40, key=BOUND)
    worker = world.work()
    await until(lambda: worker.running >= 3)
    await world.submit("batch_2", ["bert"] * 60, key=BERT)
    assert len(await world.over("batch_2")) == 60
    assert most <= filled(1)
    assert (await counts(world.storage, "batch_1"))[2] == 0
    for _ in range(40):
        turn.release()
    assert len(await world.over("batch_1")) == 40


@pytest.mark.parametrize("share", ["members", "own"])
async def test_the_alias_is_answered_by_nodes_that_are_not_everybodys(
    world: World, make_node: MakeNode, network: Network, share: str
) -> None:
    """The member that asks may use them, so there is room for its items."""
    node = await make_node("n0")
    node.share = share
    await node.beat()
    await until(lambda: network.registry.nodes[node.id].share == share)
    owner = replace(KEY, member=MemberId("mbr_n0"))
    async with world.storage.write() as connection:
        row = {"id": owner.member, "name": "Olle", "created_at": datetime.now(UTC)}
        await connection.execute(members.insert().values(row))
    await world.submit("batch_1", ["hej"] * 5, key=owner, model="garage-chat")
    world.work()
    assert len(await world.over("batch_1")) == 5
    assert await counts(world.storage, "batch_1") == (5, 5, 0)


async def test_of_several_regions_one_is_chosen_that_takes_batches(
    world: World, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the one where most nodes are, whose agents are too old to let a batch give way."""
    monkeypatch.setattr(NoLimits, "regions", lambda *_: frozenset({"SE-AB", "SE-M"}))
    for name in ("old1", "old2"):
        await make_node(name, region="SE-M", batch=None)
    node = await make_node("n0", region="SE-AB")
    await world.submit("batch_1", ["hej"] * 5)
    world.work()
    assert len(await world.over("batch_1")) == 5
    assert await counts(world.storage, "batch_1") == (5, 5, 0)
    assert len(node.jobs) == 5
