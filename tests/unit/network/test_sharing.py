"""Whose requests a node serves, and who goes first on it."""

import random

import msgspec
import pytest
from tests.unit.network.conftest import SMALL, BeatMaker
from tests.unit.network.test_router import pool_of, replica

from garage_ai.network.breaker import FAILURES_TO_OPEN, NEED_PAUSE
from garage_ai.network.models import Replica, share_of
from garage_ai.network.registry import Registry
from garage_ai.network.router import (
    Shared,
    Wanted,
    choose,
    choose_own,
    could_serve,
    region_for,
)
from garage_ai.network.sharing import goes_first, serves, told
from garage_ai.storage.ids import OPERATOR
from garage_ai.wire.ids import NodeId
from garage_ai.wire.messages import Share

OWNER = "mbr"
"""Who owns the replicas of the tests of the router."""
OTHER = "mbr_other"


def shared(share: Share) -> Replica:
    """Make a replica on a node that is shared so."""
    made = replica()
    made.node.share = share
    return made


@pytest.mark.parametrize(
    ("share", "served"),
    [
        ("own", {OWNER}),
        ("members", {OWNER, OTHER}),
        ("all", {OWNER, OTHER, OPERATOR, ""}),
    ],
)
def test_a_node_serves_whom_its_owner_lets_in(share: Share, served: set[str]) -> None:
    """The operator's keys are anybody's, so they are no member's; nor is who is not known."""
    node = shared(share).node
    assert {who for who in (OWNER, OTHER, OPERATOR, "") if serves(node, who)} == served


def test_the_filter_says_whom_it_is_for() -> None:
    """The sentence names the owner's word."""
    refusal = "its owner shares it with members"
    assert Shared().refuses(shared("members"), Wanted(member=OPERATOR), 0.0) == refusal
    assert Shared().refuses(shared("members"), Wanted(member=OTHER), 0.0) is None


def test_waiting_for_a_node_that_is_not_shared_is_in_vain() -> None:
    """It is as if it were not there."""
    assert not could_serve(pool_of(shared("own")), Wanted(member=OTHER), 0.0)
    assert could_serve(pool_of(shared("own")), Wanted(member=OWNER), 0.0)


def test_a_node_hears_who_asks_only_where_it_must() -> None:
    """One that serves everybody is told nothing."""
    assert told(shared("all").node, OWNER) == ""
    assert told(shared("own").node, OWNER) == "own"
    assert told(shared("members").node, OTHER) == "member"
    assert told(shared("members").node, OPERATOR) == "other"


def test_the_operator_goes_first_nowhere() -> None:
    """Its node is the network's own: keys of its are no reason to wait for that one."""
    mine, theirs = replica("mine", load=1), replica("theirs")
    node = mine.node.enrolled
    mine.node.enrolled = type(node)(node.id, OPERATOR, node.name, None)
    pool = pool_of(mine, theirs)
    assert not goes_first(OPERATOR)
    assert choose(pool, Wanted(member=OPERATOR), 0.0, random.Random(1)) is theirs


def test_an_owner_gets_his_own_node_while_it_has_room() -> None:
    """However loaded and slow it is; one that is full leaves him the others."""
    mine, theirs = replica("mine", load=3, speed=1.0), replica("theirs", speed=90.0)
    enrolled = theirs.node.enrolled
    theirs.node.enrolled = type(enrolled)(enrolled.id, OTHER, enrolled.name, None)
    pool, wanted = pool_of(mine, theirs), Wanted(member=OWNER)
    assert choose(pool, wanted, 0.0, random.Random(1)) is mine
    mine.inflight = 4
    pool.put(mine)
    assert choose_own(pool, wanted, 0.0, random.Random(1)) is None
    assert choose(pool, wanted, 0.0, random.Random(1)) is theirs


def test_a_node_for_its_owner_alone_is_come_across_by_him_alone() -> None:
    """It stands among no others, whatever room it has; the operator looks for its own there."""
    mine, operators = shared("own"), replica("operators")
    enrolled = operators.node.enrolled
    operators.node.enrolled = type(enrolled)(enrolled.id, OPERATOR, enrolled.name, None)
    operators.node.share = "own"
    pool = pool_of(mine)
    assert (pool.free(), pool.free_of(OWNER)) == ([], [mine])
    assert not pool.has_room("chat")
    assert (pool.has_room_of(OWNER, "chat"), pool.has_room_of(OTHER, "chat")) == (True, False)
    assert choose(pool, Wanted(member=OWNER), 0.0, random.Random(1)) is mine
    pool = pool_of(mine, operators)
    assert choose(pool, Wanted(member=OPERATOR), 0.0, random.Random(1)) is operators
    assert choose(pool, Wanted(member=OTHER), 0.0, random.Random(1)) is None


def test_a_node_for_its_owner_alone_lets_batch_give_way_to_him_and_is_tried_in_need() -> None:
    """Being his alone takes nothing from him."""
    mine, wanted = shared("own"), Wanted(member=OWNER)
    mine.inflight = mine.batch = 4
    pool = pool_of(mine)
    assert choose(pool, wanted, 0.0, random.Random(1)) is mine
    mine.inflight = mine.batch = 0
    pool.put(mine)
    for moment in range(FAILURES_TO_OPEN):
        mine.node.breaker.failed(float(moment), float(moment))
    later = FAILURES_TO_OPEN - 1 + NEED_PAUSE
    assert choose(pool, wanted, later - 0.1, random.Random(1)) is None
    assert choose(pool, wanted, later, random.Random(1)) is mine


def test_an_owners_region_is_where_his_own_node_has_room() -> None:
    """It counts for him among regions, where it may be; for others it does not."""
    mine = replica("mine", region="SE-O")
    mine.node.share = "own"
    pool, regions = pool_of(mine), ("SE-AB", "SE-O")
    assert region_for(pool, regions, Wanted(member=OWNER), 0.0) == "SE-O"
    assert region_for(pool, regions, Wanted(member=OTHER), 0.0) == "SE-AB"
    theirs = pool_of(mine, replica("theirs", region="SE-AB"))
    assert region_for(theirs, ("SE-AB", "SE-M"), Wanted(member=OWNER), 0.0) == "SE-AB"


def test_an_owners_own_node_must_fit_like_any_other() -> None:
    """One that failed this request, or stands in another region, is not chosen for being his."""
    mine = replica("mine", region="SE-O")
    pool = pool_of(mine, replica("theirs", region="SE-AB"))
    elsewhere = Wanted(region="SE-AB", member=OWNER)
    failed = Wanted(excluded=frozenset({mine.node.life}), member=OWNER)
    for wanted in (elsewhere, failed):
        chosen = choose(pool, wanted, 0.0, random.Random(1))
        assert chosen is not None
        assert chosen is not mine


def test_a_word_that_is_not_known_is_the_narrowest(registry: Registry, beat: BeatMaker) -> None:
    """A node's word only ever narrows; one that says none serves everybody."""
    node = registry.nodes[NodeId("n0")]
    registry.heard(NodeId("n0"), beat(1), 0.0, 0.0)
    assert node.share == "all"
    registry.heard(NodeId("n0"), msgspec.structs.replace(beat(2), share="my street"), 0.0, 0.0)
    assert not serves(node, OTHER)
    assert share_of(msgspec.structs.replace(beat(3), share="members")) == "members"
    assert registry.pools[SMALL.name]
