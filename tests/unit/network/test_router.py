"""Choosing a replica."""

import random
import timeit
from collections import Counter

import pytest
from tests.unit.network.conftest import SMALL

from garage_ai.network.breaker import FAILURES_TO_OPEN, FIRST_PAUSE, LONGEST_PAUSE, Breaker
from garage_ai.network.models import EnrolledNode, Node, Replica
from garage_ai.network.pool import Pool
from garage_ai.network.router import (
    AsTrusted,
    BreakerClosed,
    InRegion,
    NotJustFull,
    NotTriedYet,
    SameModel,
    Wanted,
    choose,
    could_serve,
    expected_wait,
)
from garage_ai.wire.ids import Digest, NodeId, SessionId
from garage_ai.wire.messages import Beat, ModelServed

ANY = Wanted()
CHANCE = random.Random(7)


def replica(
    name: str = "n", *, region: str | None = None, slots: int = 4, speed: float = 0.0, load: int = 0
) -> Replica:
    """Make a replica of the small model."""
    node = Node(EnrolledNode(NodeId(name), "mbr", name, region), state="ready")
    served = ModelServed(SMALL.name, SMALL.digest, slots=slots, decode_speed=speed)
    return Replica(node, served, inflight=load)


def pool_of(*replicas: Replica) -> Pool:
    """Put replicas into a pool."""
    pool = Pool()
    for each in replicas:
        pool.put(each)
    return pool


def test_nobody_to_choose() -> None:
    """An empty pool and a full one give nobody."""
    assert choose(pool_of(), ANY, 0.0, CHANCE) is None
    assert choose(pool_of(replica(slots=1, load=1)), ANY, 0.0, CHANCE) is None


def test_a_tried_node_says_so() -> None:
    """The filter's sentence names the reason."""
    wanted = Wanted(excluded=frozenset({NodeId("n")}))
    assert NotTriedYet().refuses(replica(), wanted, 0.0) == "it failed this request"
    assert NotTriedYet().refuses(replica("m"), wanted, 0.0) is None


def test_an_answer_is_only_continued_by_the_model_that_began_it() -> None:
    """One name may stand for two digests."""
    other = Wanted(digest=Digest("sha256:" + "c" * 64))
    refusal = "it serves another model under this name"
    assert SameModel().refuses(replica(), other, 0.0) == refusal
    assert SameModel().refuses(replica(), Wanted(digest=SMALL.digest), 0.0) is None
    assert SameModel().refuses(replica(), ANY, 0.0) is None


def test_an_answer_that_began_in_a_sandbox_stays_in_one() -> None:
    """One that began outside may go on anywhere."""
    inside, outside = replica(), replica("m")
    model = ModelServed(SMALL.name, SMALL.digest)
    inside.node.beat = Beat(SessionId("s"), 1, 0.0, "ready", (model,), sandbox="podman")
    fenced = Wanted(fenced=True)
    assert AsTrusted().refuses(outside, fenced, 0.0) == "its engine has no sandbox"
    assert AsTrusted().refuses(inside, fenced, 0.0) is None
    assert AsTrusted().refuses(outside, ANY, 0.0) is None


@pytest.mark.parametrize(
    ("region", "wanted", "refusal"),
    [
        ("SE-AB", None, None),
        ("SE-AB", "SE-AB", None),
        ("SE-O", "SE-AB", "it is in SE-O, not in SE-AB"),
        (None, "SE-AB", "it is in no region, not in SE-AB"),
    ],
)
def test_residency_is_closed(region: str | None, wanted: str | None, refusal: str | None) -> None:
    """Where a region is asked for, a node in another or in none is refused."""
    assert InRegion().refuses(replica(region=region), Wanted(region=wanted), 0.0) == refusal


def test_a_node_that_said_busy_is_left_for_a_moment() -> None:
    """Its word counts until the moment passes."""
    busy = replica()
    busy.full_until = 5.0
    assert NotJustFull().refuses(busy, ANY, 4.9) == "it said it is busy"
    assert NotJustFull().refuses(busy, ANY, 5.0) is None
    assert could_serve(pool_of(busy), ANY, 0.0)


def test_the_breaker_opens_lets_one_trial_through_and_closes() -> None:
    """Three failures open it; after the pause one request may try."""
    broken = replica()
    breaker = broken.node.breaker
    for _ in range(FAILURES_TO_OPEN):
        assert BreakerClosed().refuses(broken, ANY, 0.0) is None
        breaker.started()
        breaker.failed(0.0, 0.0)
    assert BreakerClosed().refuses(broken, ANY, FIRST_PAUSE - 0.1) == "it failed too often"
    assert BreakerClosed().refuses(broken, ANY, FIRST_PAUSE) is None
    breaker.started()
    assert BreakerClosed().refuses(broken, ANY, FIRST_PAUSE) == "it failed too often"
    breaker.succeeded()
    assert BreakerClosed().refuses(broken, ANY, FIRST_PAUSE) is None


def test_the_breakers_pause_doubles_to_a_bound() -> None:
    """A node that never heals is asked once in five minutes."""
    breaker, now = Breaker(), 0.0
    for _ in range(FAILURES_TO_OPEN + 10):
        breaker.started()
        breaker.failed(now, now)
        now += LONGEST_PAUSE
    breaker.failed(now, now)
    assert not breaker.allows(now + LONGEST_PAUSE - 1)
    assert breaker.allows(now + LONGEST_PAUSE)


def test_what_fails_together_fails_once() -> None:
    """A node that is killed with many requests on it may be asked again as soon as it is back."""
    breaker = Breaker()
    for _ in range(2 * FAILURES_TO_OPEN):
        breaker.failed(5.0, begun=4.0)
        breaker.failed(5.1, begun=4.5)
    assert breaker.allows(5.1)
    for now in range(6, 6 + FAILURES_TO_OPEN):
        breaker.failed(now, begun=now)
    assert not breaker.allows(10.0)


def test_a_trial_that_says_nothing_leaves_the_door_ajar() -> None:
    """A cancelled trial is no verdict: the next request may try."""
    breaker = Breaker()
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed(0.0, 0.0)
    breaker.started()
    breaker.spared()
    assert breaker.allows(FIRST_PAUSE)


def test_the_queue_counts_in_units_of_the_nodes_own_speed() -> None:
    """A fast card with three requests is free sooner than a slow one with one."""
    fast, slow = replica("f", speed=90.0, load=3), replica("s", speed=10.0, load=1)
    assert expected_wait(fast) < expected_wait(slow)
    assert choose(pool_of(fast, slow), ANY, 0.0, CHANCE) is fast


def test_a_node_never_measured_is_judged_by_its_load_alone() -> None:
    """Its unknown speed keeps it neither out of work nor in front."""
    fast, fresh = replica("f", speed=90.0, load=1), replica("u", load=0)
    assert choose(pool_of(fast, fresh), ANY, 0.0, CHANCE) is fresh
    fresh.inflight = 2
    assert choose(pool_of(fast, fresh), ANY, 0.0, CHANCE) is fast


def test_a_replicas_speed_follows_its_streams() -> None:
    """What the gateway measured goes before the node's own word and moves with each stream."""
    measured = replica(speed=500.0)
    measured.ran_at(10.0)
    assert measured.speed == 10.0
    measured.ran_at(20.0)
    assert 10.0 < measured.speed < 20.0


def test_equal_nodes_share_the_work() -> None:
    """Two random candidates and the emptier of them keep a hundred nodes close to level."""
    replicas = [replica(f"n{number}", slots=100) for number in range(100)]
    pool = pool_of(*replicas)
    for _ in range(2000):
        chosen = choose(pool, ANY, 0.0, CHANCE)
        assert chosen is not None
        chosen.inflight += 1
        pool.put(chosen)
    loads = Counter(each.inflight for each in replicas)
    assert max(loads) - min(loads) <= 6


def test_one_fit_among_many_is_found() -> None:
    """When chance finds nobody, everybody is looked at."""
    others = [replica(f"o{number}", region="SE-O") for number in range(500)]
    fit = replica("fit", region="SE-AB")
    pool = pool_of(*others, fit)
    assert choose(pool, Wanted(region="SE-AB"), 0.0, CHANCE) is fit


def test_a_choice_among_thousands_does_not_look_at_thousands() -> None:
    """Ten thousand nodes cost about what ten do: the work does not grow with the pool."""
    small = pool_of(*(replica(f"s{number}") for number in range(10)))
    large = pool_of(*(replica(f"l{number}") for number in range(10_000)))
    few = min(timeit.repeat(lambda: choose(small, ANY, 0.0, CHANCE), number=200, repeat=5))
    many = min(timeit.repeat(lambda: choose(large, ANY, 0.0, CHANCE), number=200, repeat=5))
    assert many < 50 * few
