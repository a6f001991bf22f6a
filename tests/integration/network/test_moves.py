"""Streams that lose their node and go on at another, over a real NATS server."""

import asyncio
from typing import Any

import msgspec
import pytest
from tests.integration.network.conftest import LIMITS, MakeNode, hurry, until
from tests.parts.scripted_node import (
    DONE,
    PLAIN,
    ROLE,
    STOP,
    Job,
    Script,
    ScriptedNode,
    answer_plainly,
    event,
)

from garage_ai.network.dispatcher import Answer, Request
from garage_ai.network.errors import ContinuationUnsound, DispatchError, NodeLost
from garage_ai.network.flight import PROBE_SECONDS
from garage_ai.network.network import Network
from garage_ai.wire.frames import Accepted, Alive, Data, End, Fail, Head, Refused
from garage_ai.wire.ids import SessionId
from garage_ai.wire.messages import ModelServed

pytestmark = pytest.mark.anyio

USER = {"role": "user", "content": "count"}
BEGUN = ROLE + event("one")
TAIL = event(" two") + STOP + DONE
WHOLE = BEGUN + TAIL


def request(*, stream: bool = True, **fields: Any) -> Request:
    """Ask the small model something."""
    body = {"model": "small", "messages": [USER], "temperature": 0, "seed": 7} | fields
    return Request("chat", "small", msgspec.json.encode(body), stream, include_usage=False)


async def read(answer: Answer, said: list[bytes] | None = None) -> bytes:
    """Take the whole answer; `said` has what came also where it breaks."""
    said = [] if said is None else said
    async with asyncio.timeout(20):
        async for chunk in answer:
            said.append(chunk)
    return b"".join(said)


async def begin(job: Job) -> None:
    job.begin_stream()
    job.say(Data(BEGUN))


async def yield_midway(job: Job) -> None:
    await begin(job)
    job.say(Fail("yielded", "its owner plays"))


async def shut_down(job: Job) -> None:
    await begin(job)
    job.say(Fail("shutdown"))


async def lose_the_engine(job: Job) -> None:
    await begin(job)
    job.say(Fail("engine_lost", "died"))


async def talk_nonsense(job: Job) -> None:
    await begin(job)
    job.say(Data(b"data: {nonsense\n\n"))


async def fall_silent(job: Job) -> None:
    await begin(job)


async def end_too_soon(job: Job) -> None:
    await begin(job)
    job.say(End())


async def lose_a_packet(job: Job) -> None:
    await begin(job)
    job.sender.pack(Data(event("lost")))
    job.say(Data(event("later")))


async def go_on(job: Job) -> None:
    await job.arrived.wait()
    job.begin_stream()
    job.say(Data(ROLE + TAIL), End())


def take_turns(nodes: list[ScriptedNode], *scripts: Script) -> list[Job]:
    """Let jobs be answered by these scripts in their order, whichever node they come to."""
    jobs: list[Job] = []

    async def answer(job: Job) -> None:
        jobs.append(job)
        await scripts[min(len(jobs), len(scripts)) - 1](job)

    for node in nodes:
        node.scripts = [answer]
    return jobs


@pytest.mark.parametrize(
    "loss",
    [
        yield_midway,
        shut_down,
        lose_the_engine,
        talk_nonsense,
        fall_silent,
        end_too_soon,
        lose_a_packet,
    ],
    ids=lambda script: script.__name__,
)
async def test_another_node_goes_on(network: Network, make_node: MakeNode, loss: Script) -> None:
    """The client sees one stream; the other node was asked to continue what was said."""
    if loss is fall_silent:
        hurry(network, silence=1.5)
    nodes = [await make_node("n0"), await make_node("n1")]
    jobs = take_turns(nodes, loss, go_on)
    answer = await network.open(request(max_tokens=5))
    assert await read(answer) == WHOLE
    first, second = jobs
    assert answer.replica.node.id == first.node.id != second.node.id
    assert answer.tries == 2
    asked = msgspec.json.decode(bytes(second.body))
    assert asked == msgspec.json.decode(bytes(first.body)) | {
        "messages": [USER, {"role": "assistant", "content": "one"}],
        "max_tokens": 4,
        "continue_final_message": True,
        "add_generation_prompt": False,
    }
    assert [part.content_events for part in answer.parts] == [1, 1]
    assert answer.seen.content_events == 2
    await until(lambda: all(view.inflight == 0 for view in network.nodes()))


async def test_a_node_that_yields_is_not_blamed(network: Network, make_node: MakeNode) -> None:
    """However often its owner takes it back, the breaker stays closed."""
    nodes = [await make_node("n0"), await make_node("n1")]
    for _ in range(5):
        take_turns(nodes, yield_midway, go_on)
        assert await read(await network.open(request())) == WHOLE
    for node in nodes:
        assert network.registry.nodes[node.id].breaker.allows(0.0)
        assert network.registry.nodes[node.id].state == "ready"


async def test_the_same_node_goes_on_where_it_was_the_way_that_lost(
    network: Network, make_node: MakeNode
) -> None:
    """A gap in the numbers says nothing of the node: with nobody else it is asked itself."""
    jobs = take_turns([await make_node(slots=4)], lose_a_packet, go_on)
    assert await read(await network.open(request())) == WHOLE
    assert len(jobs) == 2


async def test_at_most_three_moves(network: Network, make_node: MakeNode) -> None:
    """The fourth node that is lost was the last; what was said stands."""
    nodes = [await make_node(f"n{number}") for number in range(5)]
    jobs = take_turns(nodes, yield_midway)
    answer = await network.open(request())
    said: list[bytes] = []
    with pytest.raises(NodeLost):
        await read(answer, said)
    # The first event of a moved part is the same text again here; its role is not said again.
    assert b"".join(said) == BEGUN + event("one") * 3
    assert len(jobs) == 4
    assert len(answer.parts) == 4
    asked = msgspec.json.decode(bytes(jobs[-1].body))
    assert asked["messages"][-1]["content"] == "one" * 3


async def test_a_killed_node_is_known_at_once(network: Network, make_node: MakeNode) -> None:
    """The server says that nobody hears it, long before its silence would."""
    nodes = [await make_node("n0"), await make_node("n1")]

    async def die(job: Job) -> None:
        await begin(job)
        await job.node.link.flush()
        await job.node.link.close()

    take_turns(nodes, die, go_on)
    answer = await network.open(request())
    assert await read(answer) == WHOLE
    gap = answer.parts[1].gap_s
    assert gap is not None
    assert PROBE_SECONDS * 0.9 < gap < LIMITS.attempt.silence
    assert answer.parts[0].outcome == "node_lost"


async def test_a_node_that_is_back_before_it_is_missed(
    network: Network, make_node: MakeNode
) -> None:
    """Its new session tells that what the old one did is lost; it goes on itself if it must."""
    node = await make_node(slots=4)

    async def die(job: Job) -> None:
        await begin(job)
        node.session = SessionId("another")
        await node.beat()

    jobs = take_turns([node], die, go_on)
    answer = await network.open(request())
    assert await read(answer) == WHOLE
    assert [job.opening.session for job in jobs][1] == "another"
    assert network.registry.nodes[node.id].state == "ready"
    gap = answer.parts[1].gap_s
    assert gap is not None
    assert gap < LIMITS.attempt.silence


async def test_a_slow_engine_is_not_taken_for_a_dead_node(
    network: Network, make_node: MakeNode
) -> None:
    """Asked whether somebody hears it, the server says yes."""
    node = await make_node()

    async def think(job: Job) -> None:
        await begin(job)
        for _ in range(3):
            await asyncio.sleep(PROBE_SECONDS)
            await job.credited.wait()
            job.credited.clear()
            job.say(Alive())
        job.say(Data(TAIL), End())

    node.scripts = [think]
    assert await read(await network.open(request())) == WHOLE
    assert len(node.jobs) == 1


async def test_another_model_of_the_same_name_does_not_go_on(
    network: Network, make_node: MakeNode
) -> None:
    """A name may stand for two digests; an answer belongs to one."""
    nodes = [await make_node("n0"), await make_node("n1")]
    jobs = take_turns(nodes, yield_midway, go_on)
    answer = await network.open(request())
    other = next(node for node in nodes if node is not jobs[0].node)
    replica = next(iter(network.registry.nodes[other.id].replicas.values()))
    replica.served = ModelServed("small", "sha256:" + "c" * 64, slots=2)
    with pytest.raises(NodeLost):
        await read(answer)
    assert len(jobs) == 1


async def test_a_busy_node_is_waited_for(network: Network, make_node: MakeNode) -> None:
    """A stream that lost its node comes before those that have not begun."""
    nodes = [await make_node("n0", slots=1), await make_node("n1", slots=1)]
    held, go = asyncio.Event(), asyncio.Event()

    async def hold(job: Job) -> None:
        await begin(job)
        await held.wait()
        job.say(Data(TAIL), End())

    async def yield_when_told(job: Job) -> None:
        await begin(job)
        await go.wait()
        job.say(Fail("yielded"))

    jobs = take_turns(nodes, hold, yield_when_told, go_on, answer_plainly)
    other = await network.open(request())
    answer = await network.open(request())
    later = asyncio.create_task(network.open(request()))
    await until(lambda: network.dispatcher.placement.waiting == 1)
    reading = asyncio.create_task(read(answer))
    network.dispatcher._registry.drain(jobs[1].node.id, on=True)
    go.set()
    await until(lambda: network.dispatcher.placement.waiting == 2)
    held.set()
    await read(other)
    assert await reading == WHOLE
    await read(await later)
    assert len(jobs) == 4


async def test_a_node_that_refuses_to_go_on(network: Network, make_node: MakeNode) -> None:
    """Busy, or an engine that takes no unfinished turn: the next one is asked."""
    nodes = [await make_node(f"n{number}") for number in range(4)]

    async def refuse(job: Job) -> None:
        job.say(Refused("draining", "not now"))

    async def reject(job: Job) -> None:
        job.say(Accepted())
        job.say(Head(400, "application/json"), Data(b'{"error":{"message":"no"}}'), End())

    jobs = take_turns(nodes, yield_midway, refuse, reject, go_on)
    answer = await network.open(request())
    assert await read(answer) == WHOLE
    assert len({job.node.id for job in jobs}) == 4
    assert [part.outcome for part in answer.parts] == ["yielded", "engine_rejected", "ok"]


async def test_what_cannot_go_on_says_so(network: Network, make_node: MakeNode) -> None:
    """Although another node serves the model, it is not asked."""
    jobs = take_turns([await make_node("n0"), await make_node("n1")], yield_midway, go_on)
    answer = await network.open(request(response_format={"type": "json_object"}))
    said: list[bytes] = []
    with pytest.raises(ContinuationUnsound, match="structured"):
        await read(answer, said)
    assert b"".join(said) == BEGUN
    assert len(jobs) == 1


async def test_the_end_was_said_already(network: Network, make_node: MakeNode) -> None:
    """A node that is lost between the end and its last word leaves a whole answer."""

    async def forget_the_last_word(job: Job) -> None:
        job.begin_stream()
        job.say(Data(BEGUN + STOP))
        job.say(Fail("yielded"))

    jobs = take_turns([await make_node("n0"), await make_node("n1")], forget_the_last_word)
    answer = await network.open(request())
    assert await read(answer) == BEGUN + STOP + DONE
    assert len(jobs) == 1
    await until(lambda: not network.dispatcher._flights)


async def test_a_stop_string_over_the_cut(network: Network, make_node: MakeNode) -> None:
    """The second node cannot know that `one two` was not to be said; it is stopped."""
    nodes = [await make_node("n0"), await make_node("n1")]

    async def talk_on(job: Job) -> None:
        job.begin_stream()
        job.say(Data(event(" tw") + event("o three")))
        await job.cancelled.wait()

    jobs = take_turns(nodes, yield_midway, talk_on)
    out = await read(await network.open(request(stop=["one two"])))
    assert out.startswith(BEGUN)
    end = msgspec.json.decode(out.removeprefix(BEGUN).removesuffix(DONE).removeprefix(b"data: "))
    assert end["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    await asyncio.wait_for(jobs[1].cancelled.wait(), 20)


@pytest.mark.parametrize("stage", ["waiting", "begun"])
async def test_a_client_that_leaves_a_moved_stream(
    network: Network, make_node: MakeNode, stage: str
) -> None:
    """Wherever it is under way, the node is told and the slot is freed."""
    nodes = [await make_node("n0"), await make_node("n1")]

    async def think(job: Job) -> None:
        job.begin_stream()
        if stage == "begun":
            job.say(Data(event(" two")))
        await job.cancelled.wait()

    jobs = take_turns(nodes, yield_midway, think)
    answer = await network.open(request())
    said: list[bytes] = []
    reading = asyncio.create_task(read(answer, said))
    expected = 2 if stage == "begun" else 1
    await until(lambda: len(jobs) == 2 and len(said) == expected)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    answer.cancel()
    await asyncio.wait_for(jobs[1].cancelled.wait(), 20)
    await until(lambda: all(view.inflight == 0 for view in network.nodes()))


@pytest.mark.parametrize("loss", [yield_midway, lose_the_engine], ids=lambda each: each.__name__)
async def test_a_plain_answer_is_asked_for_anew(
    network: Network, make_node: MakeNode, loss: Script
) -> None:
    """Nothing was given yet: another node answers from the start."""

    async def half(job: Job) -> None:
        job.say(Accepted())
        job.say(Head(200, "application/json"), Data(PLAIN[:20]))
        job.say(Fail("yielded" if loss is yield_midway else "engine_lost"))

    jobs = take_turns([await make_node("n0"), await make_node("n1")], half, answer_plainly)
    answer = await network.open(request(stream=False))
    assert await read(answer) == PLAIN
    assert answer.replica.node.id == jobs[1].node.id
    assert answer.tries == 2
    assert answer.parts == ()


async def test_the_gateways_own_link(network: Network, make_node: MakeNode) -> None:
    """When it comes back the stream goes on, at the same node if it must."""
    jobs = take_turns([await make_node(slots=4)], begin, go_on)
    answer = await network.open(request())
    network.dispatcher.link_lost()
    assert await read(answer) == WHOLE
    assert len(jobs) == 2


async def test_no_error_is_lost(network: Network, make_node: MakeNode) -> None:
    """With nobody else to go on the first loss is told, at once."""
    jobs = take_turns([await make_node()], lose_the_engine)
    answer = await network.open(request())
    with pytest.raises(DispatchError) as caught:
        await read(answer)
    assert caught.value.code == "engine_error"
    assert len(jobs) == 1
