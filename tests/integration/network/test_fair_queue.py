"""The queue of a gateway's network: turns by weight, and a full room that is shared."""

import asyncio

import pytest
from msgspec.structs import replace
from tests.integration.network.conftest import LIMITS, MakeNode, until
from tests.integration.network.test_dispatch import free_of_work, read, request
from tests.parts.scripted_node import DONE, STOP, Job, ScriptedNode, answer_plainly, event

from garage_ai.network.errors import NoCapacity
from garage_ai.network.network import Network
from garage_ai.wire.frames import Data, End

pytestmark = pytest.mark.anyio


def busy_until(go: asyncio.Event, node: ScriptedNode) -> None:
    """Let the node's first answer last until `go`, and the others come at once."""

    async def hold(job: Job) -> None:
        job.begin_stream()
        job.say(Data(event("a")))
        await go.wait()
        job.say(Data(STOP + DONE), End())

    node.scripts = [hold, answer_plainly]


async def test_members_take_turns(network: Network, make_node: MakeNode) -> None:
    """Of three of one member and one of another who comes last, that one is served second."""
    go = asyncio.Event()
    busy_until(go, await make_node(slots=1))
    first = await network.open(request())
    order: list[str] = []

    async def ask(member: str, weight: float) -> None:
        answer = await network.open(replace(request(), member=member, weigh=lambda: weight))
        order.append(member)
        await read(answer)

    asks = []
    for member in ("many", "many", "many", "one"):
        asks.append(asyncio.create_task(ask(member, 1.0)))
        await until(lambda: network.dispatcher.placement.waiting == len(asks))
    go.set()
    await read(first)
    await asyncio.wait_for(asyncio.gather(*asks), 20)
    assert order == ["many", "one", "many", "many"]
    assert free_of_work(network)


async def test_weight_goes_before_time(network: Network, make_node: MakeNode) -> None:
    """A contributor who comes later is served before one who has little left, who then is too."""
    go = asyncio.Event()
    busy_until(go, await make_node(slots=1))
    first = await network.open(request())
    order: list[str] = []

    async def ask(member: str, weight: float) -> None:
        answer = await network.open(replace(request(), member=member, weigh=lambda: weight))
        order.append(member)
        await read(answer)

    asks = []
    for member, weight in (("guest", 0.5), ("lender", 8.0)):
        asks.append(asyncio.create_task(ask(member, weight)))
        await until(lambda: network.dispatcher.placement.waiting == len(asks))
    go.set()
    await read(first)
    await asyncio.wait_for(asyncio.gather(*asks), 20)
    assert order == ["lender", "guest"]


async def test_a_full_room_makes_place(network: Network, make_node: MakeNode) -> None:
    """Where one member fills the queue its newest is refused for another's first, and no other."""
    go = asyncio.Event()
    busy_until(go, await make_node(slots=1))
    first = await network.open(request())
    ended: list[str] = []

    async def ask(member: str, number: int) -> None:
        try:
            answer = await network.open(replace(request(), member=member))
        except NoCapacity:
            ended.append(f"{member}{number}")
            return
        await read(answer)

    asks = []
    for number in range(LIMITS.queue_size):
        asks.append(asyncio.create_task(ask("many", number)))
        await until(lambda: network.dispatcher.placement.waiting == len(asks))
    asks.append(asyncio.create_task(ask("one", 0)))
    await until(lambda: bool(ended))
    assert network.dispatcher.placement.waiting == LIMITS.queue_size
    go.set()
    await read(first)
    await asyncio.wait_for(asyncio.gather(*asks), 20)
    assert ended == [f"many{LIMITS.queue_size - 1}"]
    assert free_of_work(network)
