"""A gang is divided as the planner says, and what it refuses is said in a sentence."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.parts.gang_world import DIGEST

from garage_ai import catalog
from garage_ai.catalog import KNOWN, QUANTISATIONS, Unweighed, Weighed
from garage_ai.catalog.groups import MemoryShort
from garage_ai.cli.reason_words import in_swedish
from garage_ai.node.engines.vllm_options import Lent, VllmOptions
from garage_ai.node.group.by_cards import by_cards, cards_of
from garage_ai.node.group.gang import Refusal
from garage_ai.node.group.messages import Card, GangPlan, Measured, Member, TunnelEnd, Wished
from garage_ai.node.group.planning import Division, evenly, gang_planner
from garage_ai.node.group.rank import seated
from garage_ai.node.group.tunnel import Tunnel
from garage_ai.wire.ids import Digest, NodeId

GIB = 1 << 30
MODEL = Weighed(KNOWN["Qwen3-Next-80B-A3B-Instruct"].shape, QUANTISATIONS["int4-experts"])
NEXT = by_cards(MODEL)


def member(name: str, *rooms: int, gbit: float = 1.0, rtt_ms: float = 0.3) -> Member:
    """Make one of two rigs, which has measured its way to the other."""
    other = NodeId("b" if name == "a" else "a")
    return Member(
        NodeId(name),
        DIGEST,
        willing=True,
        cards=tuple(Card(f"a card of {room}", room * GIB, (8, 9)) for room in rooms),
        links=(Measured(other, rtt_ms, gbit),) if gbit else (),
        tunnel=TunnelEnd("k" * 44, "192.0.2.1", 51820, "10.0.0.1"),
    )


def test_two_rigs_hold_what_neither_holds_alone() -> None:
    """Equal cards in each: two sets, and layers in proportion to room."""
    found = NEXT((member("a", 15, 15), member("b", 15, 15)))
    assert found == Division(("a", "b"), 2, 2, 32_768, 8, (24, 24))
    uneven = NEXT((member("a", 23, 23), member("b", 11, 11)))
    assert isinstance(uneven, Division)
    assert uneven.layers[0] > uneven.layers[1]


def test_the_gang_is_told_how_layers_are_dealt_out() -> None:
    """By the planner, through the plan of the gang."""
    plan = gang_planner(DIGEST, NEXT)((member("a", 23, 23), member("b", 11, 11)))
    assert isinstance(plan, GangPlan)
    assert (plan.nodes, plan.tensor, plan.pipeline) == (("a", "b"), 2, 2)
    assert len(plan.layers) == 2


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ((member("a", 15, 15),), "2 cards are 8.7 GiB short each"),
        ((member("a", 15, 15, gbit=0), member("b", 15, 15, gbit=0)), "have not measured"),
        ((member("a", 15, 15), member("b", 15, 15, rtt_ms=8)), "takes 8 ms, more than 2"),
        ((member("a", 15, 11),), "are not equal"),
        ((member("a"),), "the group has no card"),
    ],
)
def test_a_refusal_is_a_sentence_with_its_numbers(members: tuple[Member, ...], said: str) -> None:
    """In English for the log, and in Swedish for an owner who reads it."""
    found = NEXT(members)
    assert isinstance(found, Refusal)
    assert said in found.reason
    assert in_swedish(found.reason) != found.reason


def test_what_is_short_by_a_byte_is_not_short_by_nothing() -> None:
    """It is rounded up, as `gai group plan` does."""
    room = 15 * GIB
    place = catalog.Place("a card", room, None, (8, 9))
    found = catalog.plan_group(MODEL.shape, [MODEL.form], [catalog.Rig("a", (place, place))], [])
    assert isinstance(found, catalog.GroupRefusal)
    (short,) = found.obstacles
    assert isinstance(short, MemoryShort)
    tight = Card("a card", room + short.short - 1, (8, 9))
    said = NEXT((replace(member("a"), cards=(tight, tight)),))
    assert said == Refusal("2 cards are 0.1 GiB short each of what the model needs")


def test_what_a_pc_lends_is_what_the_others_plan_with() -> None:
    """Two PCs that lend the same plan the same, each by itself."""
    card = catalog.Place("RTX 4080", 15 * GIB, 716.8, (8, 9))
    told = cards_of(Lent((card, card), MODEL))
    assert told == (Card("RTX 4080", 15 * GIB, (8, 9)),) * 2
    rigs = [replace(member(name), cards=told) for name in "ab"]
    assert by_cards(MODEL)(tuple(rigs)) == NEXT(tuple(reversed(rigs)))


def test_what_owners_wish_is_planned_with() -> None:
    """The least that any of them asks for, by every rig alike; of a wished context none is cut."""
    pair = (member("a", 15, 15), member("b", 15, 15))
    wishes = (Wished(context=16_384, slots=4), Wished(context=8192))
    asked = tuple([replace(rig, wish=wish) for rig, wish in zip(pair, wishes, strict=True)])
    found = NEXT(asked)
    assert isinstance(found, Division)
    assert (found.context, found.slots) == (8192, 4)
    assert NEXT(tuple(reversed(asked))) == found
    many = NEXT(tuple(replace(rig, wish=Wished(slots=64)) for rig in pair))
    assert isinstance(many, Division)
    assert many.slots == 64
    tight = tuple([replace(rig, wish=Wished(context=262_144)) for rig in pair])
    long = NEXT(tight)
    assert isinstance(long, Refusal) or long.context == 262_144


def wishing(tensor: int, *rigs: Member) -> tuple[Member, ...]:
    """Let the owner of the last rig wish for sets of so many cards."""
    return (*rigs[:-1], replace(rigs[-1], wish=Wished(tensor=tensor, context=4096)))


def test_a_wish_for_a_set_of_cards_is_every_rigs() -> None:
    """One owner's is enough, so that no two rigs plan differently; memory is dealt out as ever."""
    fast = (member("a", 15, 15, gbit=10), member("b", 15, 15, gbit=10))
    found = NEXT(wishing(4, *fast))
    assert isinstance(found, Division)
    assert (found.rigs, found.tensor, found.pipeline) == (("a", "b"), 4, 1)
    assert found.context == 4096
    single = NEXT(wishing(1, *fast))
    assert isinstance(single, Division)
    assert (single.tensor, single.pipeline, sum(single.layers)) == (1, 4, 48)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (
            wishing(4, member("a", 15, 15), member("b", 15, 15)),
            "a and b have 1 Gbit/s between them, less than 8",
        ),
        (wishing(4, *(member(name, 15, 15, gbit=25, rtt_ms=3) for name in "ab")), "takes 3 ms"),
        (wishing(4, *(member(name, 15, 15, gbit=0) for name in "ab")), "have not measured"),
        (wishing(2, member("a", 23, gbit=10), member("b", 11, gbit=10)), "are not equal"),
        (wishing(4, *(member(name, 5, 5, gbit=10) for name in "ab")), "GiB short each"),
        (
            wishing(3, *(member(name, 30, 30, 30, gbit=10) for name in "ab")),
            "16 heads cannot be divided among 3 cards",
        ),
        (
            wishing(8, member("a", 15, 15), member("b", 15, 15)),
            "no set of 8 cards can be had of 4 in 2 rigs",
        ),
    ],
    ids=["bandwidth", "trip", "unmeasured", "unequal", "memory", "heads", "none"],
)
def test_a_wish_is_refused_for_what_any_plan_is(members: tuple[Member, ...], said: str) -> None:
    """An owner may ask for fewer ways of dividing, not for one that the group cannot run."""
    found = NEXT(members)
    assert isinstance(found, Refusal)
    assert said in found.reason
    assert in_swedish(found.reason) != found.reason


UNKNOWN = by_cards(Unweighed(16))


def test_a_model_that_cannot_be_weighed_goes_over_all_cards() -> None:
    """Whole layers in each rig, as the engine deals them out; a set over both where that is asked
    for and the link carries it."""
    pair = (member("a", 15, 15), member("b", 15, 15))
    assert UNKNOWN(pair) == Division(("a", "b"), 2, 2)
    fast = (member("a", 15, 15, gbit=10), member("b", 15, 15, gbit=10))
    assert UNKNOWN(wishing(4, *fast)) == Division(("a", "b"), 4, context=4096)
    assert UNKNOWN((member("a", 15, 15),)) == Division(("a",), 2)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (wishing(4, member("a", 15, 15), member("b", 15, 15)), "less than 8"),
        (wishing(2, member("a", 15, gbit=0), member("b", 15, gbit=0)), "have not measured"),
        (wishing(2, *(member(name, 15, gbit=25, rtt_ms=3) for name in "ab")), "takes 3 ms"),
        (wishing(2, member("a", 23, gbit=10), member("b", 11, gbit=10)), "are not equal"),
        (wishing(3, member("a", 15, 15, 15)), "16 heads cannot be divided among 3 cards"),
        (wishing(5, member("a", 15, 15)), "no set of 5 cards can be had of 2 in 1 rigs"),
        ((member("a"),), "the group has no card"),
    ],
    ids=["bandwidth", "unmeasured", "trip", "unequal", "heads", "none", "no card"],
)
def test_what_cannot_be_weighed_is_refused_for_all_else(
    members: tuple[Member, ...], said: str
) -> None:
    """Links, equal cards and heads are known of any model."""
    found = UNKNOWN(members)
    assert isinstance(found, Refusal)
    assert said in found.reason


def test_on_processors_their_owners_decide() -> None:
    """Rigs with cards are no part of that."""
    pair = wishing(2, member("a", gbit=0.1), member("b", gbit=0.1))
    assert evenly(pair) == Division(("a", "b"), 2, context=4096)
    mixed = evenly((pair[0], member("c", 15, 15), pair[1]))
    assert mixed == Division(("a", "b"), 2, context=4096)
    assert evenly((member("a", 15), pair[1])) == Refusal("2 rigs are needed, and 1 are there")


def test_a_rig_without_the_groups_network_is_named() -> None:
    """A gang of several goes through the tunnel or not at all; one rig alone needs none."""
    pair = (member("a", 15, 15), replace(member("b", 15, 15), tunnel=None))
    found = gang_planner(DIGEST, NEXT)(pair)
    assert isinstance(found, Refusal)
    assert found.reason.startswith("the group's own network is not set up on b: there, as root:")
    assert in_swedish(found.reason).startswith("gruppens eget nät är inte inrättat på b")
    neither = gang_planner(DIGEST, NEXT)(tuple(replace(each, tunnel=None) for each in pair))
    assert isinstance(neither, Refusal)
    assert "not set up on a, b:" in neither.reason
    alone = gang_planner(DIGEST, NEXT)((replace(member("a", 30, 30), tunnel=None),))
    assert isinstance(alone, GangPlan)
    assert alone.places[0].tunnel is None


def test_rigs_without_the_groups_network_keep_nobody_from_serving() -> None:
    """Those that have it do without them, and one that serves alone needs none."""
    large, small = member("a", 24, 24), member("b", 15, 15)
    plan = gang_planner(DIGEST, NEXT)
    assert by_cards(MODEL)((large, small)) != by_cards(MODEL)((large,))
    for pair in (
        (large, replace(small, tunnel=None)),
        (replace(large, tunnel=None), small),
        (replace(large, tunnel=None), replace(small, tunnel=None)),
    ):
        found = plan(pair)
        assert isinstance(found, GangPlan)
        assert found.nodes == (large.node,)
        assert found == plan((large,))


def test_a_team_that_is_left_alone_is_planned_around() -> None:
    """Whoever of it tells so; where nothing else fits, it is tried again all the same."""
    large, small = member("a", 24, 24), member("b", 15, 15)
    plan = gang_planner(DIGEST, NEXT)
    both = (NodeId("b"), NodeId("a"))
    for pair in ((replace(large, avoids=(both,)), small), (large, replace(small, avoids=(both,)))):
        assert plan(pair) == plan((large,))
    needed = (replace(member("a", 15, 15), avoids=(both,)), small)
    found = plan(needed)
    assert isinstance(found, GangPlan)
    assert set(found.nodes) == set(both)


def _all_of_two(free: tuple[Member, ...]) -> Division:
    return Division(tuple([str(each.node) for each in free]), 2)


def test_the_oldest_card_says_how_all_keep_numbers() -> None:
    """Once, in the plan; each rig runs its part so, whatever it would have chosen alone."""
    old = replace(member("b", 15, 15), cards=(Card("an old card", 15 * GIB, (7, 5)),) * 2)
    for rigs, dtype in (((member("a", 15, 15), old), "half"), ((member("a", 15, 15),), "auto")):
        plan = gang_planner(DIGEST, _all_of_two)(rigs)
        assert isinstance(plan, GangPlan)
        assert plan.dtype == dtype
        options = VllmOptions(
            Path("m"), "m", Digest(DIGEST), "chat", 16, 4096, dtype="float16", memory_share=0.9
        )
        assert seated(options, plan, NodeId("a"), Tunnel("gai", "10.213.0.1")).dtype == dtype
    alone = gang_planner(DIGEST, evenly)((replace(member("a"), cards=()),))
    assert isinstance(alone, GangPlan)
    assert alone.dtype == "bfloat16"
