"""Choosing a replica."""

import random
import timeit
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.unit.network.conftest import SMALL

from garage_ai.network.breaker import (
    FAILURES_TO_OPEN,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    NEED_PAUSE,
    Breaker,
)
from garage_ai.network.models import EnrolledNode, Life, Node, Replica
from garage_ai.network.pool import Pool
from garage_ai.network.router import (
    AsTrusted,
    BreakerClosed,
    InRegion,
    LetsGiveWay,
    NotJustFull,
    NotTriedYet,
    SameModel,
    Wanted,
    choose,
    could_be_tried,
    could_serve,
    expected_wait,
    region_for,
)
from garage_ai.wire.ids import Digest, NodeId, SessionId
from garage_ai.wire.messages import Beat, ModelServed

ANY = Wanted()
BATCH = Wanted(priority="batch")
CHANCE = random.Random(7)


def replica(
    name: str = "n",
    *,
    region: str | None = None,
    slots: int = 4,
    speed: float = 0.0,
    load: int = 0,
    batch: int | None = 0,
) -> Replica:
    """Make a replica of the small model."""
    node = Node(EnrolledNode(NodeId(name), "mbr", name, region), state="ready")
    served = ModelServed(SMALL.name, SMALL.digest, slots=slots, decode_speed=speed, batch=batch)
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
    wanted = Wanted(excluded=frozenset({Life(NodeId("n"), 0)}))
    assert NotTriedYet().refuses(replica(), wanted, 0.0) == "it failed this request"
    assert NotTriedYet().refuses(replica("m"), wanted, 0.0) is None


def test_a_tried_node_that_began_anew_may_be_asked_again() -> None:
    """It is another process, or its owner has given it back."""
    risen = replica()
    wanted = Wanted(excluded=frozenset({risen.node.life}))
    assert NotTriedYet().refuses(risen, wanted, 0.0) is not None
    risen.node.risen += 1
    assert NotTriedYet().refuses(risen, wanted, 0.0) is None


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


def test_what_is_full_for_batch_may_have_a_slot_for_a_chat() -> None:
    """A refused batch request keeps no chat away."""
    busy = replica()
    busy.batch_full_until = 5.0
    assert NotJustFull().refuses(busy, ANY, 4.9) is None
    assert NotJustFull().refuses(busy, BATCH, 4.9) == "it said it is busy"


def test_a_batch_request_that_a_chat_outran_waits_for_that_chat_and_no_longer() -> None:
    """A node that is full of what this gateway does not know of is left alone for a moment."""
    known = replica(load=5)
    assert not known.said_busy("batch", 3.0)
    assert known.batch_full_until == 0.0
    unknown = replica(load=2)
    assert unknown.said_busy("batch", 3.0)
    assert unknown.full_until == 0.0
    assert unknown.batch_full_until > 3.0
    assert known.said_busy("chat", 3.0)
    assert known.full_until == known.batch_full_until > 3.0


def test_a_chat_gets_the_slot_of_a_batch_request_where_none_is_free() -> None:
    """A free slot costs nobody anything; batch itself waits for one."""
    held, full = replica("held", load=4), replica("full", load=4)
    held.batch = 1
    assert choose(pool_of(held, full), ANY, 0.0, CHANCE) is held
    assert choose(pool_of(held, full), BATCH, 0.0, CHANCE) is None
    free = replica("free", load=3)
    assert choose(pool_of(held, full, free), ANY, 0.0, CHANCE) is free
    held.inflight = 5  # a chat is on its way there, and the batch request not yet gone
    assert choose(pool_of(held, full), ANY, 0.0, CHANCE) is None


def test_batch_gives_way_by_the_same_rules_of_choice() -> None:
    """In the region asked for, on a member's own node first, and on none that failed this."""
    held = [replica(name, region=region, load=4) for name, region in (("a", "SE-AB"), ("b", None))]
    for each in held:
        each.others_batch, each.others, each.inflight = 4, 4, 0
    pool = pool_of(*held)
    assert choose(pool, Wanted(region="SE-AB"), 0.0, CHANCE) is held[0]
    assert choose(pool, Wanted(region="SE-O"), 0.0, CHANCE) is None
    failed = frozenset({held[0].node.life})
    assert choose(pool, Wanted(excluded=failed), 0.0, CHANCE) is held[1]
    own = replica("own", load=4)
    own.node.enrolled = replace(own.node.enrolled, member="mbr_2")
    own.batch = 4
    assert choose(pool_of(own, *held), Wanted(member="mbr_2"), 0.0, CHANCE) is own


def test_an_agent_that_lets_nobody_give_way_gets_no_batch() -> None:
    """Its slots would be lost to chats."""
    old = replica(batch=None)
    assert LetsGiveWay().refuses(old, ANY, 0.0) is None
    assert "too old" in (LetsGiveWay().refuses(old, BATCH, 0.0) or "")
    assert not could_serve(pool_of(old), BATCH, 0.0)


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


def broken() -> Replica:
    """Make a replica on a node that has just failed too often, at 0 s."""
    made = replica("b")
    for _ in range(FAILURES_TO_OPEN):
        made.node.breaker.failed(0.0, 0.0)
    return made


def test_the_only_node_is_tried_by_one_at_a_time() -> None:
    """A second after it failed; the next when it has spoken, or a second after it failed again."""
    only = broken()
    pool = pool_of(only)
    assert choose(pool, ANY, NEED_PAUSE - 0.1, CHANCE) is None
    assert could_be_tried(pool, ANY, 0.0)
    assert not could_serve(pool, ANY, NEED_PAUSE)
    assert choose(pool, ANY, NEED_PAUSE, CHANCE) is only
    only.node.breaker.started()
    assert choose(pool, ANY, NEED_PAUSE, CHANCE) is None
    only.node.breaker.spoke()
    assert choose(pool, ANY, NEED_PAUSE, CHANCE) is only
    only.node.breaker.failed(3.0, 2.0)
    assert choose(pool, ANY, 3.0 + NEED_PAUSE - 0.1, CHANCE) is None
    assert choose(pool, ANY, 3.0 + NEED_PAUSE, CHANCE) is only


def test_while_another_can_serve_it_is_left_alone() -> None:
    """Also while that one is busy; not where that one may not serve the request."""
    bad, busy = broken(), replica("m", region="SE-AB", slots=1, load=1)
    pool = pool_of(bad, busy)
    assert choose(pool, ANY, NEED_PAUSE, CHANCE) is None
    failed = Wanted(excluded=frozenset({busy.node.life}))
    assert choose(pool, failed, NEED_PAUSE, CHANCE) is bad
    assert choose(pool, Wanted(region="SE-O"), NEED_PAUSE, CHANCE) is None
    assert not could_be_tried(pool, Wanted(region="SE-O"), NEED_PAUSE)


class Unread(Pool):
    """A pool that is never gone through: there may be ten thousand in it."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Replica]:
        raise AssertionError("each node was looked at")


def test_a_region_where_nobody_is_costs_no_look_at_all_others() -> None:
    """Each request for it would otherwise look at every node of the model, and more than once."""
    pool, there = Unread(), Wanted(region="SE-O")
    for number in range(3):
        pool.put(replica(f"n{number}", region="SE-AB"))
    assert choose(pool, there, 0.0, CHANCE) is None
    assert not could_serve(pool, there, 0.0)
    assert not could_be_tried(pool, there, 0.0)
    one = replica("there", region="SE-O")
    pool.put(one)
    with pytest.raises(AssertionError):
        could_serve(pool, there, 0.0)
    pool.remove(one.node.id)
    assert not could_serve(pool, there, 0.0)


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
    measured.ran_at(10.0, 0.2)
    assert measured.speed == 10.0
    measured.ran_at(20.0, None)
    assert 10.0 < measured.speed < 20.0
    assert measured.measured_ttft == 0.2
    measured.ran_at(None, 0.4)
    assert 0.2 < measured.measured_ttft < 0.4


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


@pytest.mark.parametrize("count", [2, 3])
def test_a_few_idle_nodes_take_turns_by_chance(count: int) -> None:
    """Though none of them moves in the list: the first would else have all and the last nothing."""
    pool = pool_of(*(replica(f"n{number}") for number in range(count)))
    chosen = Counter(choose(pool, ANY, 0.0, CHANCE) for _ in range(200))
    assert len(chosen) == count
    assert min(chosen.values()) > 20


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


def test_a_region_is_where_most_have_room() -> None:
    """Of the allowed ones only; with nobody at all any is as good."""
    many = [replica(f"m{number}", region="SE-M") for number in range(3)]
    pool = pool_of(replica("a", region="SE-AB"), replica("c", region="SE-C"), *many)
    assert region_for(pool, {"SE-AB", "SE-M"}, ANY, 0.0) == "SE-M"
    assert region_for(pool, {"SE-C", "SE-AB"}, ANY, 0.0) == "SE-AB"
    assert region_for(pool, {"SE-Z"}, ANY, 0.0) == "SE-Z"
    assert region_for(pool, (), ANY, 0.0) is None


def test_a_region_whose_nodes_are_busy_is_waited_for() -> None:
    """Not one where nobody serves the model, whatever its name."""
    pool = pool_of(replica("m", region="SE-M", slots=1, load=1))
    assert region_for(pool, {"SE-AB", "SE-M"}, ANY, 0.0) == "SE-M"


def test_a_region_is_of_nodes_that_are_lent_to_who_asks() -> None:
    """Those that their owners keep to themselves count for nobody else."""
    own = [replica(f"a{number}", region="SE-AB") for number in range(3)]
    for each in own:
        each.node.share = "own"
    pool = pool_of(*own, replica("m", region="SE-M"))
    allowed = {"SE-AB", "SE-M"}
    assert region_for(pool, allowed, Wanted(member="mbr_2"), 0.0) == "SE-M"
    assert region_for(pool, allowed, Wanted(member="mbr"), 0.0) == "SE-AB"
