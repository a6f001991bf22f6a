"""Batch requests: behind all chats, on what they leave over, and gone on with after giving way."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.integration.network.conftest import MakeNode, until
from tests.integration.network.test_moves import USER, read
from tests.parts.scripted_node import (
    DONE,
    PLAIN,
    ROLE,
    STOP,
    Job,
    ScriptedNode,
    answer_plainly,
    event,
)

from garage_ai.network.continuation import MAX_MOVES
from garage_ai.network.dispatcher import Dispatcher, Request
from garage_ai.network.errors import ContinuationUnsound, NatsUnavailable, NoNode
from garage_ai.network.network import Network
from garage_ai.network.placement import no_link
from garage_ai.wire.frames import Accepted, Data, End, Fail, Head, Refused

pytestmark = pytest.mark.anyio

STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


def batch(*, stream: bool = False, **fields: Any) -> Request:
    """Ask the small model something that has time."""
    body = {"model": "small", "messages": [USER]} | fields | (STREAMED if stream else {})
    return Request(
        "chat", "small", msgspec.json.encode(body), stream, include_usage=False, priority="batch"
    )


CHAT = msgspec.structs.replace(batch(stream=True), priority="chat")


def usage(prompt: int, said: int) -> bytes:
    """Write the event that tells what was used."""
    told = {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said}
    return b"data: " + msgspec.json.encode({"id": "c", "choices": [], "usage": told}) + b"\n\n"


class Hall:
    """A node that lets batch give way: what comes to it, and what it is told to do with it."""

    def __init__(self, node: ScriptedNode) -> None:
        self.node = node
        node.scripts = [self._answer]
        self.say: Callable[[Job], None] = self.finish
        self.batch: list[Job] = []
        self.chats: list[Job] = []

    async def _answer(self, job: Job) -> None:
        await job.arrived.wait()
        if job.opening.batch_age is None:
            self.chats.append(job)
            await answer_plainly(job)
        else:
            self.batch.append(job)
            self.say(job)

    def begin(self, job: Job) -> None:
        """Say a first word and think."""
        job.begin_stream()
        job.say(Data(ROLE + event(f"w{len(self.batch)}")))

    def finish(self, job: Job) -> None:
        """Say all that is left."""
        if job.opening.stream:
            job.begin_stream()
            said = ROLE + event(" end") + STOP + usage(10 + len(self.batch), 1) + DONE
            job.say(Data(said), End())
        else:
            job.say(Accepted(), Head(200, "application/json"), Data(PLAIN), End())

    def asked(self, number: int) -> dict[str, Any]:
        """Read what was asked at a batch request's attempt."""
        asked: dict[str, Any] = msgspec.json.decode(self.batch[number].body)
        return asked


@pytest.fixture
async def hall(network: Network, make_node: MakeNode) -> Hall:
    """A node with one slot."""
    node = await make_node("n0", slots=1)
    await lets_give_way(network, node)
    return Hall(node)


async def lets_give_way(network: Network, node: ScriptedNode, **fields: Any) -> None:
    """Let a node say that it does."""
    await node.beat(**{"batch": 0} | fields)
    replicas = network.registry.nodes[node.id].replicas
    await until(lambda: all(each.served.batch is not None for each in replicas.values()))


def quiet(network: Network) -> bool:
    """Tell whether nothing is under way, nothing waits and every slot is free."""
    placement = network.dispatcher.placement
    nodes = network.registry.nodes.values()
    counted = [(each.inflight, each.batch) for node in nodes for each in node.replicas.values()]
    waiting = placement.waiting + placement.batch_waiting
    return not network.dispatcher._flights and waiting == 0 and set(counted) == {(0, 0)}


async def test_an_agent_that_cannot_let_batch_give_way_gets_none(
    network: Network, make_node: MakeNode
) -> None:
    """It would hold a slot that a chat needs; chats it gets as ever."""
    await make_node(batch=None)
    with pytest.raises(NoNode):
        await network.open(batch())
    assert DONE in await read(await network.open(CHAT))


async def test_a_plain_answer_goes_on_where_it_gave_way(network: Network, hall: Hall) -> None:
    """A chat gets the slot at once; then the rest is asked for, and all of it is one answer.

    Its pre-emption is no move, no try and no failure, and each token is told once.
    """
    hall.say = hall.begin
    asked = asyncio.create_task(network.open(batch(max_tokens=9)))
    await until(lambda: len(hall.batch) == 1)
    hall.say = hall.finish
    assert DONE in await read(await network.open(CHAT))
    hall.batch[0].say(Fail("preempted"))
    answer = await asyncio.wait_for(asked, 20)
    whole = msgspec.json.decode(await read(answer))
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "w1 end"}
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert whole["usage"] == {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13}
    assert [(part.outcome, part.content_events) for part in answer.parts] == [
        ("preempted", 1),
        ("ok", 1),
    ]
    assert [each.texts for each in answer.delivered] == [("w1",), (" end",)]
    assert answer.tries == 1
    assert network.dispatcher.preempted == 1
    assert not network.registry.nodes[hall.node.id].breaker.is_open
    first, second = hall.asked(0), hall.asked(1)
    assert (first["stream"], first["messages"]) == (True, [USER])
    assert second["messages"] == [USER, {"role": "assistant", "content": "w1"}]
    assert second["max_tokens"] == 8
    assert quiet(network)


async def test_it_gives_way_more_often_than_a_stream_may_move(network: Network, hall: Hall) -> None:
    """And its age is that of the answer: what was begun first is finished first."""
    hall.say = hall.begin
    asked = asyncio.create_task(network.open(batch()))
    times = MAX_MOVES + 2
    for number in range(1, times + 1):
        await until(lambda number=number: len(hall.batch) == number)  # type: ignore[misc]
        if number == times:
            hall.say = hall.finish
        hall.batch[-1].say(Fail("preempted"))
    answer = await asyncio.wait_for(asked, 20)
    text = msgspec.json.decode(await read(answer))["choices"][0]["message"]["content"]
    assert text == "".join(f"w{number}" for number in range(1, times + 1)) + " end"
    ages = [job.opening.batch_age for job in hall.batch]
    assert ages == sorted(ages, key=lambda age: age or 0.0)
    assert len(set(ages)) == times + 1
    assert quiet(network)


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{}], "tool_choice": "required"},
        {"response_format": {"type": "json_object"}},
        {"logprobs": True},
        {"n": 2},
    ],
)
async def test_what_text_cannot_carry_begins_anew(
    network: Network, hall: Hall, fields: dict[str, Any]
) -> None:
    """It is asked for whole, and asked for again."""
    hall.say = lambda job: job.say(Accepted())
    asked = asyncio.create_task(network.open(batch(**fields)))
    await until(lambda: len(hall.batch) == 1)
    hall.say = hall.finish
    hall.batch[0].say(Fail("preempted"))
    answer = await asyncio.wait_for(asked, 20)
    assert await read(answer) == PLAIN
    assert hall.batch[0].body == hall.batch[1].body
    assert not hall.batch[1].opening.stream
    assert answer.parts == ()
    assert quiet(network)


async def test_what_turns_out_not_to_be_text_begins_anew(network: Network, hall: Hall) -> None:
    """Reasoning that was under way is thought again, as nothing of it went to anybody."""

    def think(job: Job) -> None:
        delta = {"index": 0, "delta": {"reasoning_content": "hm"}, "finish_reason": None}
        job.begin_stream()
        job.say(Data(b"data: " + msgspec.json.encode({"choices": [delta]}) + b"\n\n"))
        job.say(Fail("preempted"))
        hall.say = hall.finish

    hall.say = think
    answer = await asyncio.wait_for(network.open(batch()), 20)
    assert await read(answer) == PLAIN
    assert [job.opening.stream for job in hall.batch] == [True, False]
    assert quiet(network)


async def test_a_stream_that_text_cannot_carry_ends_in_an_error(
    network: Network, hall: Hall
) -> None:
    """What was delivered cannot be taken back."""
    hall.say = hall.begin
    answer = await network.open(batch(stream=True, n=2))
    hall.batch[0].say(Fail("preempted"))
    with pytest.raises(ContinuationUnsound):
        await read(answer)
    assert quiet(network)


async def test_batch_waits_behind_all_chats(network: Network, hall: Hall) -> None:
    """Whoever came first; and no chat waits for one that came before it."""
    go = asyncio.Event()

    async def hold(job: Job) -> None:
        job.begin_stream()
        job.say(Data(event("a")))
        await go.wait()
        job.say(Data(STOP + DONE), End())

    hall.node.scripts = [hold, hall._answer]
    first = await network.open(CHAT)
    order: list[str] = []

    async def ask(request: Request) -> None:
        answer = await network.open(request)
        order.append(request.priority)
        await read(answer)

    placement = network.dispatcher.placement
    asks = [asyncio.create_task(ask(batch())) for _ in range(2)]
    await until(lambda: placement.batch_waiting == 2)
    asks += [asyncio.create_task(ask(CHAT)) for _ in range(2)]
    await until(lambda: placement.waiting == 2)
    go.set()
    await read(first)
    await asyncio.wait_for(asyncio.gather(*asks), 20)
    assert order == ["chat", "chat", "batch", "batch"]
    assert quiet(network)


async def test_another_gateways_batch_gives_way_too(network: Network, make_node: MakeNode) -> None:
    """A node that is full of it says so in its beats, and a chat is sent there at once."""
    node = await make_node("n0", slots=2)
    await lets_give_way(network, node, running=2, batch=1)
    assert DONE in await read(await network.open(CHAT))


async def test_a_node_too_full_for_batch_is_not_full_for_chats(
    network: Network, make_node: MakeNode
) -> None:
    """A batch request that was refused keeps no chat away."""
    hall = Hall(await make_node("n0", slots=2))
    await lets_give_way(network, hall.node)
    hall.say = lambda job: job.say(Refused("busy"))
    asked = asyncio.create_task(network.open(batch()))
    await until(lambda: network.dispatcher.placement.batch_waiting == 1)
    (replica,) = network.registry.nodes[hall.node.id].replicas.values()
    assert replica.full_until == 0.0 < replica.batch_full_until
    assert DONE in await read(await network.open(CHAT))
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    assert quiet(network)


async def test_a_loss_beside_the_gateways_own_is_told_as_that(
    network: Network, hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has time waits for the link; what was lost before may have been the link's doing too."""
    hall.say = hall.begin
    asked = asyncio.create_task(network.open(batch()))
    await until(lambda: len(hall.batch) == 1)

    async def away(_: Dispatcher) -> None:
        raise no_link()

    monkeypatch.setattr(Dispatcher, "_await_link", away)
    hall.batch[0].say(Fail("engine_lost"))
    with pytest.raises(NatsUnavailable):
        await asyncio.wait_for(asked, 20)
    await until(lambda: quiet(network))


async def test_one_who_leaves_stops_the_work(network: Network, hall: Hall) -> None:
    """Half a plain answer is nobody's: its node is told to stop."""
    hall.say = hall.begin
    asked = asyncio.create_task(network.open(batch()))
    await until(lambda: len(hall.batch) == 1)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    await asyncio.wait_for(hall.batch[0].cancelled.wait(), 20)
    await until(lambda: quiet(network))
