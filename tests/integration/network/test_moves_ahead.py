"""Streams whose node says that it will soon be stopped: another goes on before it is."""

import asyncio

import pytest
from tests.integration.network.conftest import MakeNode, until
from tests.integration.network.test_moves import (
    BEGUN,
    TAIL,
    WHOLE,
    begin,
    go_on,
    read,
    request,
    take_turns,
)
from tests.parts.scripted_node import PLAIN, Job, Script, event

from garage_ai.network.answer import MAX_LOOKS
from garage_ai.network.dispatcher import Answer
from garage_ai.network.network import Network
from garage_ai.wire.frames import (
    Accepted,
    Alive,
    Data,
    End,
    Fail,
    Frame,
    Head,
    Leaving,
    Refused,
)
from garage_ai.wire.messages import ModelServed

pytestmark = pytest.mark.anyio

UNHEARD = event(" never heard")


def outcomes(answer: Answer) -> list[str]:
    """Tell how each part ended."""
    return [part.outcome for part in answer.parts]


async def leave(job: Job) -> None:
    """Say that it leaves, and do so until it is told to stop."""
    await begin(job)
    job.say(Leaving())
    await job.cancelled.wait()


async def leave_and_end(job: Job) -> None:
    """Say that it leaves, and get to the end before that."""
    await begin(job)
    job.say(Leaving())
    await asyncio.sleep(0.2)
    job.say(Data(TAIL), End())


class InTurn:
    """Two jobs, of which the first speaks once the second was asked, and before that one does."""

    def __init__(self, *last: Frame) -> None:
        self._last = last
        self._asked, self._said = asyncio.Event(), asyncio.Event()

    async def first(self, job: Job) -> None:
        """Say that it leaves, and its last words when another was asked."""
        await begin(job)
        job.say(Leaving())
        await asyncio.wait_for(self._asked.wait(), 20)
        for each in self._last:
            job.say(each)
        await job.node.link.flush()
        self._said.set()
        await job.cancelled.wait()

    def second(self, script: Script) -> Script:
        """Follow a script once the first has said its last words."""

        async def follow(job: Job) -> None:
            self._asked.set()
            await asyncio.wait_for(self._said.wait(), 20)
            await script(job)

        return follow


async def think_for_ever(job: Job) -> None:
    await job.arrived.wait()
    job.say(Accepted())
    job.say(Head(200, "text/event-stream"))
    while not job.cancelled.is_set():
        job.say(Alive())
        await asyncio.sleep(0.1)


async def test_another_goes_on_before_the_end(network: Network, make_node: MakeNode) -> None:
    """The old one is stopped once the other has content; what it said meanwhile is never given."""
    nodes, turns = [await make_node("n0"), await make_node("n1")], InTurn(Data(UNHEARD))
    jobs = take_turns(nodes, turns.first, turns.second(go_on))
    answer = await network.open(request())
    assert await read(answer) == WHOLE
    assert jobs[0].node is not jobs[1].node
    await asyncio.wait_for(jobs[0].cancelled.wait(), 20)
    assert outcomes(answer) == ["planned", "ok"]
    assert [part.content_events for part in answer.parts] == [1, 1]
    assert answer.seen.content_events == 2
    assert answer.tries == 2
    gap = answer.parts[1].gap_s
    assert gap is not None
    assert gap >= 0
    assert network.registry.nodes[jobs[0].node.id].breaker.allows(0.0)
    await until(lambda: all(view.inflight == 0 for view in network.nodes()))


async def test_nobody_has_room(network: Network, make_node: MakeNode) -> None:
    """It speaks on, as if it had said nothing; nobody waits for room that may never come."""
    jobs = take_turns([await make_node("n0", slots=1)], leave_and_end)
    answer = await network.open(request())
    assert await read(answer) == WHOLE
    assert (answer.parts, answer.tries, len(jobs)) == ((), 1, 1)


async def test_room_that_comes_in_time(network: Network, make_node: MakeNode) -> None:
    """It says again that it leaves, and by then another has room."""
    nodes = [await make_node("n0", slots=1), await make_node("n1", slots=1)]
    free, again = asyncio.Event(), asyncio.Event()

    async def hold(job: Job) -> None:
        await begin(job)
        await free.wait()
        job.say(Data(TAIL), End())

    async def leave_twice(job: Job) -> None:
        await begin(job)
        job.say(Leaving())
        await again.wait()
        job.say(Leaving())

    take_turns(nodes, hold, leave_twice, go_on)
    other = await network.open(request())
    answer = await network.open(request())
    reading = asyncio.create_task(read(answer))
    await until(lambda: answer._looks == MAX_LOOKS - 1)
    free.set()
    await read(other)
    assert not reading.done()
    again.set()
    assert await reading == WHOLE
    assert outcomes(answer) == ["planned", "ok"]


async def refuse(job: Job) -> None:
    job.say(Refused("draining", "not now"))


async def fail(job: Job) -> None:
    await job.arrived.wait()
    job.say(Accepted())
    job.say(Head(500, "application/json"), Data(b'{"error":{"message":"no"}}'), End())


@pytest.mark.parametrize("other", [refuse, fail, think_for_ever], ids=lambda each: each.__name__)
async def test_one_that_does_not_get_on_costs_nothing(
    network: Network, make_node: MakeNode, other: Script
) -> None:
    """It refuses, fails, or is slower than the rest of the answer: the old one's is taken."""
    nodes, turns = [await make_node("n0"), await make_node("n1")], InTurn(Data(TAIL), End())
    jobs = take_turns(nodes, turns.first, turns.second(other))
    answer = await network.open(request())
    assert await read(answer) == WHOLE
    assert (answer.parts, answer.tries, len(jobs)) == ((), 1, 2)
    await until(lambda: all(view.inflight == 0 for view in network.nodes()))


async def test_it_is_stopped_while_the_other_reads(network: Network, make_node: MakeNode) -> None:
    """The other goes on from where the client was, not from what came after."""
    nodes = [await make_node("n0"), await make_node("n1")]
    turns = InTurn(Data(UNHEARD), Fail("yielded"))
    take_turns(nodes, turns.first, turns.second(go_on))
    answer = await network.open(request())
    assert await read(answer) == WHOLE
    assert outcomes(answer) == ["planned", "ok"]


async def test_it_is_stopped_and_the_other_fails(network: Network, make_node: MakeNode) -> None:
    """What it said meanwhile is given after all, and a third goes on from there."""
    nodes = [await make_node(f"n{number}") for number in range(3)]
    turns = InTurn(Data(UNHEARD), Fail("yielded"))
    jobs = take_turns(nodes, turns.first, turns.second(fail), go_on)
    answer = await network.open(request())
    assert await read(answer) == BEGUN + UNHEARD + TAIL
    assert outcomes(answer) == ["yielded", "ok"]
    assert len({job.node.id for job in jobs}) == 3


async def test_a_client_that_leaves_meanwhile(network: Network, make_node: MakeNode) -> None:
    """Both are stopped."""
    nodes = [await make_node("n0"), await make_node("n1")]
    jobs = take_turns(nodes, leave, think_for_ever)
    answer = await network.open(request())
    reading = asyncio.create_task(read(answer))
    await until(lambda: len(jobs) == 2)
    answer.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    for job in jobs:
        await asyncio.wait_for(job.cancelled.wait(), 20)
    await until(lambda: all(view.inflight == 0 for view in network.nodes()))


async def test_a_reader_that_is_stopped_meanwhile(network: Network, make_node: MakeNode) -> None:
    """The other is let go of with it; the old one by whoever holds the answer."""
    nodes = [await make_node("n0"), await make_node("n1")]
    jobs = take_turns(nodes, leave, think_for_ever)
    answer = await network.open(request())
    reading = asyncio.create_task(read(answer))
    await until(lambda: len(jobs) == 2)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await asyncio.wait_for(jobs[1].cancelled.wait(), 20)
    answer.cancel()
    await until(lambda: all(view.inflight == 0 for view in network.nodes()))


async def test_a_node_that_says_so_without_end(network: Network, make_node: MakeNode) -> None:
    """Others are looked for so many times and no more, whatever it says."""
    nodes = [await make_node("n0", slots=1), await make_node("n1", slots=1)]
    busy = 0

    async def leave_without_end(job: Job) -> None:
        await begin(job)
        for _ in range(3 * MAX_LOOKS):
            job.say(Leaving())
            await asyncio.sleep(0.02)
        job.say(Data(TAIL), End())

    async def be_busy(job: Job) -> None:
        nonlocal busy
        busy += 1
        # It says so again and again: each is another life, so that it is asked again.
        job.say(Refused("draining"))
        await job.node.beat("paused")
        await job.node.beat("ready")

    take_turns(nodes, leave_without_end, be_busy)
    assert await read(await network.open(request())) == WHOLE
    assert 1 <= busy <= MAX_LOOKS


async def test_a_plain_answer_has_nothing_to_go_on_with(
    network: Network, make_node: MakeNode
) -> None:
    """Nothing was given yet: it is asked for anew only if the node is stopped in the end."""
    nodes = [await make_node("n0"), await make_node("n1")]

    async def leave_plainly(job: Job) -> None:
        job.say(Accepted())
        await job.arrived.wait()
        job.say(Leaving())
        job.say(Head(200, "application/json"), Data(PLAIN), End())

    jobs = take_turns(nodes, leave_plainly)
    answer = await network.open(request(stream=False))
    assert await read(answer) == PLAIN
    assert len(jobs) == 1


async def test_what_cannot_go_on_elsewhere_is_let_end(
    network: Network, make_node: MakeNode
) -> None:
    """Half a structured answer is of no use to another; it is not even asked."""
    nodes = [await make_node("n0"), await make_node("n1")]
    jobs = take_turns(nodes, leave_and_end, go_on)
    answer = await network.open(request(response_format={"type": "json_object"}))
    assert await read(answer) == WHOLE
    assert len(jobs) == 1


async def test_another_model_of_the_same_name_does_not_go_on_ahead(
    network: Network, make_node: MakeNode
) -> None:
    """What holds for every move holds for this one."""
    nodes = [await make_node("n0"), await make_node("n1")]
    jobs = take_turns(nodes, leave_and_end, go_on)
    opening = asyncio.create_task(network.open(request()))
    await until(lambda: len(jobs) == 1)
    other = next(node for node in nodes if node is not jobs[0].node)
    replica = next(iter(network.registry.nodes[other.id].replicas.values()))
    replica.served = ModelServed("small", "sha256:" + "c" * 64, slots=2)
    assert await read(await opening) == WHOLE
    assert len(jobs) == 1
