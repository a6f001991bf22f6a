"""How long the router takes to choose among many nodes: the pure core alone, without a network.

Times are CPU times: on a busy machine a choice of four microseconds would now and then be told
as milliseconds, because something else ran in its middle.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

import msgspec

from bench.quantiles import summary
from garage_ai.network.models import EnrolledNode, Replica
from garage_ai.network.names import KnownModel, Names
from garage_ai.network.registry import Registry
from garage_ai.network.router import Wanted, choose
from garage_ai.wire.ids import Digest, NodeId, SessionId
from garage_ai.wire.messages import Beat, EngineImage, ModelServed

__all__ = ["Choice", "fleet_beat", "measure_choices"]

SLOTS = 8
NAME = "fleet-model"
DIGEST = Digest("sha256:" + "f" * 64)
HOME = "SE-AB"
RARE = "SE-BD"  # two nodes of all


class Choice(msgspec.Struct, frozen=True):
    """Microseconds of CPU one choice took, over many choices."""

    situation: str
    p50_us: float
    p99_us: float


def fleet_beat(seq: int, session: str, name: str = NAME, digest: str = DIGEST) -> Beat:
    """Make the heartbeat of a healthy node that serves one chat model."""
    served = ModelServed(
        name=name, digest=digest, context=4096, slots=SLOTS, decode_speed=40.0, prefill_speed=900.0
    )
    return Beat(
        session=SessionId(session),
        seq=seq,
        sent_at=time.time(),
        state="ready",
        models=(served,),
        agent="fleet",
        sandbox="podman",
        limits=True,
        image=EngineImage(DIGEST, DIGEST),
        free_memory=8 * 2**30,
    )


def _registry(nodes: int) -> Registry:
    known = KnownModel(name=NAME, digest=DIGEST, kind="chat", context=4096, rank=1)
    registry = Registry(Names([known]))
    for number in range(nodes):
        node = NodeId(f"nfleet{number:06d}")
        region = RARE if number < 2 else HOME
        registry.enrol(EnrolledNode(node, "mbr_fleet", f"node {number}", region))
        registry.heard(node, fleet_beat(1, f"session-{number}"), now=1.0, wall=time.time())
    return registry


def measure_choices(nodes: int, samples: int, seed: int = 1) -> list[Choice]:
    """Time choices among that many nodes, in the situations that differ for the router."""
    chance = random.Random(seed)
    anywhere, rare = Wanted(), Wanted(region=RARE)
    return [
        _timed("all have room", _registry(nodes), anywhere, samples, chance),
        _timed("five have room", _nearly_full(nodes, left=5), anywhere, samples, chance),
        _timed("two are in the region asked for", _registry(nodes), rare, samples, chance),
    ]


def _nearly_full(nodes: int, left: int) -> Registry:
    registry = _registry(nodes)
    for replica in _replicas(registry)[left:]:
        for _ in range(SLOTS):
            registry.acquire(replica)
    return registry


def _replicas(registry: Registry) -> Sequence[Replica]:
    return [replica for node in registry.nodes.values() for replica in node.replicas.values()]


def _timed(
    situation: str, registry: Registry, wanted: Wanted, samples: int, chance: random.Random
) -> Choice:
    def once() -> Replica | None:
        pool = registry.pool(NAME)
        return choose(pool, wanted, 2.0, chance) if pool is not None else None

    found = summary([_one(once, registry) for _ in range(samples)])
    return Choice(situation, found.p50, found.p99)


def _one(once: Callable[[], Replica | None], registry: Registry) -> float:
    """Choose, count the request in and out as the dispatcher does, and return microseconds."""
    start = time.thread_time_ns()
    replica = once()
    if replica is None:
        raise AssertionError("no replica in a fleet that has room")
    registry.acquire(replica)
    took = time.thread_time_ns() - start
    registry.release(replica)
    return took / 1e3
