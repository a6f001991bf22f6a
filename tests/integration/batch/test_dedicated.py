"""Batches in engines made for them alone: real NATS, books and worker, nodes that are played."""

import asyncio

import pytest
from tests.integration.batch.world import World
from tests.integration.network.conftest import MakeNode, until
from tests.integration.serving.test_service import KEY
from tests.parts.batches import states
from tests.parts.scripted_node import Job, ScriptedNode, answer_plainly

from garage_ai.batch.worker import worker as worker_module
from garage_ai.batch.worker.fates import MAX_ATTEMPTS
from garage_ai.network.answer import Request
from garage_ai.network.dedications import DedicatedView
from garage_ai.wire.frames import Accepted, Fail
from garage_ai.wire.messages import Dedicate, Undedicate

pytestmark = pytest.mark.anyio

JOB = "batch_1"


def told(node: ScriptedNode, kind: type[Dedicate | Undedicate]) -> list[str]:
    """Name the jobs of which a node heard so."""
    return [each.job for each in node.controls if isinstance(each, kind)]


async def both(make_node: MakeNode) -> tuple[ScriptedNode, ScriptedNode]:
    """Make two nodes of which only the first makes engines for one job."""
    able, other = await make_node("n0"), await make_node("n1")
    able.dedicates = True
    await able.beat()
    return able, other


async def test_its_requests_meet_only_engines_of_its_own(world: World, make_node: MakeNode) -> None:
    """The node is asked, its engine is waited for, and chats go to the other all the while."""
    able, other = await both(make_node)
    registry = world.network.registry
    await until(lambda: any(node.beat and node.beat.dedicates for node in registry.nodes.values()))
    await world.submit(JOB, ["hej"] * 6, isolation="dedicated")
    world.work()
    await until(lambda: told(able, Dedicate) == [JOB])
    assert told(other, Dedicate) == []
    await able.beat("dedicated", job=JOB, engine="loading")
    await until(lambda: len(world.network.registry.pool("small") or ()) == 1)
    assert set((await states(world.storage, JOB)).values()) == {"queued"}
    await able.beat("dedicated", job=JOB)
    for _ in range(3):
        answer = await world.network.open(
            Request("chat", "small", b'{"model":"small"}', stream=False, include_usage=False)
        )
        assert answer.replica.node.id == other.id
    lines = await world.over(JOB)
    assert len(lines) == 6
    assert [job.opening.job for job in able.jobs] == [JOB] * 6
    assert [job.opening.job for job in other.jobs] == [""] * 3
    world.engines.over((await world.batch(JOB)).id)
    await until(lambda: told(able, Undedicate) == [JOB])
    records, charged, paid = await world.sums()
    assert (records, charged) == (6, paid)


async def test_a_batch_that_shares_goes_where_everybody_goes(
    world: World, make_node: MakeNode
) -> None:
    """Beside a node that is another's; nobody is asked for an engine."""
    able, other = await both(make_node)
    await able.beat("dedicated", job="batch_9")
    await until(lambda: len(world.network.registry.pool("small") or ()) == 1)
    await world.submit("batch_2", ["hej"] * 3)
    world.work()
    assert len(await world.over("batch_2")) == 3
    assert (len(able.jobs), len(other.jobs)) == (0, 3)
    assert told(able, Dedicate) == []


async def test_it_waits_and_says_why_where_no_node_does_it(
    world: World, make_node: MakeNode
) -> None:
    """An agent of before, or one that has no sandbox: never asked, nothing sent, nothing begun."""
    nodes = [await make_node("n0"), await make_node("n1")]
    nodes[1].dedicates, nodes[1].sandbox = True, "none"
    await nodes[1].beat()
    await world.submit(JOB, ["hej"] * 2, isolation="dedicated")
    worker = world.work()
    await until(lambda: world.desk.asked > 0)
    batch = await world.batch(JOB)
    assert world.engines.view(batch) == DedicatedView("waiting", obstacle="not_possible")
    assert (worker.running, [told(node, Dedicate) for node in nodes]) == (0, [[], []])
    assert [node.jobs for node in nodes] == [[], []]
    assert set((await states(world.storage, JOB)).values()) == {"queued"}


async def test_what_is_handed_back_waits_and_was_no_attempt(
    world: World, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the owner, the hour or a chat takes the node from it."""
    monkeypatch.setattr(worker_module, "WAIT_SECONDS", 0.0)
    able, _ = await both(make_node)
    await world.submit(JOB, ["hej"], isolation="dedicated")

    async def hands_back(job: Job) -> None:
        job.say(Accepted())
        await job.arrived.wait()
        job.say(Fail("yielded"))

    able.scripts = [*[hands_back] * MAX_ATTEMPTS, answer_plainly]
    await able.beat("dedicated", job=JOB)
    world.work()
    for number in range(MAX_ATTEMPTS):
        await until(lambda number=number: len(able.jobs) == number + 1)  # type: ignore[misc]
        # A life of its own for each: who handed it back is not asked again in the same one.
        await able.beat("paused")
        await able.beat("dedicated", job=JOB)
    (line,) = (await world.over(JOB)).values()
    assert line["error"] is None


async def test_what_ran_on_a_node_that_is_lost_goes_on_in_the_next_engine(
    world: World, make_node: MakeNode
) -> None:
    """And nowhere else, though another node with room serves the model."""
    able, other = await both(make_node)
    await able.beat("dedicated", job=JOB)
    await until(lambda: world.network.registry.pool("small", JOB) is not None)
    await world.submit(JOB, ["hej"] * 2, isolation="dedicated")
    held = asyncio.Event()

    async def never(job: object) -> None:
        held.set()
        await asyncio.Event().wait()

    able.scripts = [never]
    world.work()
    async with asyncio.timeout(20):
        await held.wait()
    await able.beat("paused")
    await until(lambda: world.network.registry.pool("small", JOB) is None)
    await other.beat("dedicated", job=JOB)
    assert len(await world.over(JOB)) == 2
    assert {job.opening.job for job in other.jobs} == {JOB}
    assert KEY.member == (await world.batch(JOB)).member
