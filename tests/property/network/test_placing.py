"""Who is let in when room is made, for any nodes and any line."""

import asyncio
import random
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from garage_ai.network.answer import Request
from garage_ai.network.breaker import FAILURES_TO_OPEN, FIRST_PAUSE
from garage_ai.network.limits import DispatchLimits
from garage_ai.network.models import EnrolledNode, Life, Target
from garage_ai.network.names import KnownModel, Names
from garage_ai.network.placement import Placement
from garage_ai.network.registry import Registry
from garage_ai.network.router import Wanted, choose
from garage_ai.storage.ids import OPERATOR
from garage_ai.wire.ids import Digest, NodeId, SessionId
from garage_ai.wire.messages import Beat, EngineImage, ModelServed

SMALL = KnownModel("small", Digest("sha256:" + "a" * 64), "chat", 10, 1)
MEMBERS = ["mbr_a", "mbr_b", "mbr_c", OPERATOR]
REGIONS = [None, None, None, "SE-AB"]
SLOTS = 2
IDS = [NodeId(f"n{number}") for number in range(6)]

NODES = st.lists(
    st.tuples(
        st.sampled_from(MEMBERS),
        st.sampled_from(REGIONS),
        st.sampled_from(["all", "members", "own"]),
        st.sampled_from([0, 1, SLOTS, SLOTS]),
        st.sampled_from([None, None, None, 0.0, FIRST_PAUSE / 2, FIRST_PAUSE * 2]),
    ),
    min_size=2,
    max_size=len(IDS),
)
"""Owner, region, share, slots taken after room was made, seconds since the breaker opened."""
LINE = st.lists(
    st.tuples(
        st.sampled_from([*MEMBERS, ""]),
        st.sampled_from(REGIONS),
        st.sampled_from([frozenset(), frozenset(), frozenset(IDS[:1])]),
    ),
    min_size=3,
    max_size=12,
)
Nodes = list[tuple[str, str | None, str, int, float | None]]
Line = list[tuple[str, str | None, frozenset[NodeId]]]


def hear(registry: Registry, seq: int, node: NodeId, share: str, running: int) -> None:
    """Let a node say how many of its slots are taken."""
    served = ModelServed(SMALL.name, SMALL.digest, slots=SLOTS, running=running, batch=0)
    image = EngineImage(SMALL.digest, SMALL.digest)
    beat = Beat(
        SessionId("s"),
        seq,
        0.0,
        "ready",
        (served,),
        sandbox="podman",
        limits=True,
        share=share,
        image=image,
    )
    registry.heard(node, beat, time.monotonic(), 0.0)


async def waiting_in_vain(nodes: Nodes, line: Line) -> list[Wanted]:
    """Queue up while all are busy, make room for all at once, and tell who waits on."""
    registry = Registry(Names([SMALL]))
    for node, (member, region, share, _, _) in zip(IDS, nodes, strict=False):
        registry.enrol(EnrolledNode(node, member, node, region))
        hear(registry, 0, node, share, SLOTS)
    placement = Placement(
        registry, limits=DispatchLimits(), apply_effects=lambda _: None, chance=random.Random(1)
    )
    waiting = list[tuple[Wanted, asyncio.Task[object]]]()
    for member, region, failed in line:
        excluded = frozenset(Life(node, 2) for node in failed)
        request = Request("chat", SMALL.name, b"", True, False, region=region, member=member)
        found = placement.find(request, excluded=excluded, failure=None)
        waiting.append((Wanted(region, excluded, member=member), asyncio.ensure_future(found)))
    await asyncio.sleep(0)
    for node, (_, _, share, running, since) in zip(IDS, nodes, strict=False):
        hear(registry, 1, node, share, running)
        for _ in range(FAILURES_TO_OPEN if since is not None else 0):
            failed_at = time.monotonic() - (since or 0.0)
            registry.nodes[node].breaker.failed(failed_at, failed_at)
    placement.room_made(Target(SMALL.name))
    for _ in range(3):
        await asyncio.sleep(0)
    pool, now = registry.pool(SMALL.name), time.monotonic()
    assert pool is not None
    left = [wanted for wanted, task in waiting if not task.done()]
    for _, task in waiting:
        task.cancel()
    await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)
    return [each for each in left if choose(pool, each, now, random.Random(1)) is not None]


@settings(max_examples=200, deadline=None)
@given(NODES, LINE)
def test_nobody_waits_on_for_whom_there_is_room(nodes: Nodes, line: Line) -> None:
    """Whoever is passed over without being looked for would have got nothing."""
    assert asyncio.run(waiting_in_vain(nodes, line)) == []
