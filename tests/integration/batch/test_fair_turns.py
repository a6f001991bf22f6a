"""Turns between members, in a worker that runs."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.integration.batch.world import World
from tests.integration.network.conftest import MakeNode
from tests.integration.serving.test_service import KEY
from tests.parts.batches import counts
from tests.parts.scripted_node import Job, answer_plainly

from garage_ai.accounts import KeyId
from garage_ai.storage import MemberId
from garage_ai.storage.tables import members

pytestmark = pytest.mark.anyio

ANNA = KEY
BERT = replace(KEY, id=KeyId("key_2"), member=MemberId("mbr_2"))
MANY, FEW = 160, 24


async def test_a_small_batch_does_not_wait_for_a_large_one(
    world: World, make_node: MakeNode
) -> None:
    """Bert comes behind Anna's many items and is done long before them, by four turns to one.

    Once half of hers have begun no more of them is answered until he has all his answers: were it
    first come, first served, he would never have them.
    """
    node, begun, done = await make_node(slots=4), list[str](), asyncio.Event()

    async def answer(job: Job) -> None:
        await job.arrived.wait()
        begun.append("bert" if b"bert" in job.body else "anna")
        if begun[-1] == "anna" and begun.count("anna") > MANY // 2:
            await done.wait()
        await answer_plainly(job)

    node.scripts = [answer]
    async with world.storage.write() as connection:
        row = {"id": BERT.member, "name": "Bert", "created_at": datetime.now(UTC)}
        await connection.execute(members.insert().values(row))
    world.weights.named = {ANNA.member: 1.0, BERT.member: 4.0}
    await world.submit("batch_1", ["anna"] * MANY, key=ANNA)
    await world.submit("batch_2", ["bert"] * FEW, key=BERT)
    world.work()
    assert len(await world.over("batch_2")) == FEW
    _, completed, failed = await counts(world.storage, "batch_1")
    assert (completed <= MANY // 2, failed) == (True, 0)
    done.set()
    assert len(await world.over("batch_1")) == MANY
    before = begun[: len(begun) - begun[::-1].index("bert")].count("anna")
    assert FEW / 8 <= before <= FEW / 2, begun
