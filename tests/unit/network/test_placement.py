"""Who waits for room, and what becomes of it when they leave."""

import asyncio
import random
import time
from collections.abc import Sequence

import msgspec
import pytest
from tests.parts.job_caller import until
from tests.unit.network.conftest import SMALL, BeatMaker

from garage_ai.network.answer import Request
from garage_ai.network.breaker import FAILURES_TO_OPEN
from garage_ai.network.errors import ModelLoading, NoCapacity
from garage_ai.network.limits import DispatchLimits
from garage_ai.network.models import EnrolledNode, Node, Target
from garage_ai.network.placement import Placement
from garage_ai.network.registry import Effect, Registry, RoomMade
from garage_ai.network.router import DRAWS
from garage_ai.network.waiting import Turn
from garage_ai.storage.ids import OPERATOR
from garage_ai.wire.ids import NodeId

pytestmark = pytest.mark.anyio

TARGET = Target(SMALL.name)
REQUEST = Request("chat", SMALL.name, b"{}", stream=True, include_usage=False, member="m1")


@pytest.fixture
def node(registry: Registry) -> Node:
    return registry.nodes[NodeId("n0")]


@pytest.fixture
def placement(registry: Registry, beat: BeatMaker) -> Placement:
    """One node with room for two."""

    def apply(effects: Sequence[Effect]) -> None:
        for each in effects:
            if isinstance(each, RoomMade):
                made.room_made(each.target)

    made = Placement(
        registry, limits=DispatchLimits(), apply_effects=apply, chance=random.Random(1)
    )
    registry.heard(NodeId("n0"), beat(), time.monotonic(), 1000.0)
    return made


async def test_who_leaves_with_a_nodes_one_trial_gives_it_back(
    placement: Placement, node: Node
) -> None:
    """Else the node would be asked by nobody again, however well it is."""
    for _ in range(FAILURES_TO_OPEN):
        node.breaker.failed(time.monotonic() - 0.9, time.monotonic() - 0.9)
    leaving = asyncio.create_task(placement.find(REQUEST, excluded=(), failure=None))
    staying = asyncio.create_task(placement.find(REQUEST, excluded=(), failure=None))
    await until(lambda: node.breaker.allows(time.monotonic(), in_need=True))
    placement.room_made(TARGET)
    leaving.cancel()
    async with asyncio.timeout(10):
        replica = await staying
    assert replica.node is node
    assert leaving.cancelled()


class Counted(random.Random):
    """Chance that counts how often it is asked: eight times in each look for nothing among many."""

    draws = 0

    def random(self) -> float:
        self.draws += 1
        return super().random()


@pytest.mark.parametrize(
    ("share", "members", "draws"),
    [("own", [f"m{number}" for number in range(20)], 0), ("members", [OPERATOR] * 20, 2 * DRAWS)],
)
async def test_a_line_is_not_looked_for_again_and_again_among_nodes_that_it_may_not_have(
    registry: Registry, beat: BeatMaker, share: str, members: list[str], draws: int
) -> None:
    """Those lent to their owner alone are not come across; of many alike one is looked for."""
    chance = Counted(1)
    placement = Placement(
        registry,
        limits=DispatchLimits(),
        apply_effects=lambda _: None,
        chance=chance,
    )
    now = time.monotonic()
    registry.heard(NodeId("n0"), beat(slots=1, running=1), now, 1000.0)
    for number in range(50):
        lent = NodeId(f"lent{number}")
        registry.enrol(EnrolledNode(lent, "owner", lent, None))
        registry.heard(lent, msgspec.structs.replace(beat(), share=share), now, 1000.0)
    requests = [msgspec.structs.replace(REQUEST, member=member) for member in members]
    waiting = [
        asyncio.create_task(placement.find(each, excluded=(), failure=None)) for each in requests
    ]
    await until(lambda: placement.waiting == len(members))
    chance.draws = 0
    placement.room_made(TARGET)
    assert (placement.waiting, chance.draws) == (len(members), draws)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_who_waited_for_a_node_that_went_is_told_so(
    registry: Registry, beat: BeatMaker
) -> None:
    """It was busy when the wait began; at its end it loads its engine, which takes its time."""
    placement = Placement(
        registry,
        limits=DispatchLimits(queue_seconds=0.05),
        apply_effects=lambda _: None,
        chance=random.Random(1),
    )
    registry.heard(NodeId("n0"), beat(running=2), time.monotonic(), 1000.0)
    waits = asyncio.create_task(placement.find(REQUEST, excluded=(), failure=None))
    await asyncio.sleep(0)
    assert placement.waiting == 1
    loading = beat(seq=1, state="joining", engine="loading")
    [served] = loading.models
    models = (msgspec.structs.replace(served, ready_in=40.0),)
    registry.heard(
        NodeId("n0"), msgspec.structs.replace(loading, models=models), time.monotonic(), 1000.0
    )
    with pytest.raises(ModelLoading) as caught:
        await waits
    assert caught.value.retry_after == 40.0


async def test_who_has_waited_as_long_as_it_may_takes_nobodys_place(
    registry: Registry, beat: BeatMaker
) -> None:
    """Turned away once more it is told at once; a full queue stays as it is."""
    placement = Placement(
        registry,
        limits=DispatchLimits(queue_size=2),
        apply_effects=lambda _: None,
        chance=random.Random(1),
    )
    now = time.monotonic()
    registry.heard(NodeId("n0"), beat(running=2), now, 1000.0)
    waiting = [
        asyncio.create_task(placement.find(REQUEST, excluded=(), failure=None)) for _ in range(2)
    ]
    await asyncio.sleep(0)
    late = msgspec.structs.replace(REQUEST, member="m2")
    with pytest.raises(NoCapacity):
        await placement.find(late, excluded=(), failure=None, turn=Turn(now - 100.0))
    assert placement.waiting == 2
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert all(each.cancelled() for each in waiting)


async def test_who_waits_is_looked_at_when_the_time_has_come(
    placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a moment before, as a loop's timers may be: then nobody would look again."""
    asked = list[float]()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_later", lambda seconds, *_: asked.append(seconds))
    placement.room_comes(TARGET, 0.25)
    assert asked[0] >= 0.252
