"""A gang is divided as the planner says, and what it refuses is said in a sentence."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.parts.gang_world import DIGEST

from garage_ai import catalog
from garage_ai.catalog import KNOWN, QUANTISATIONS
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
NEXT = by_cards(KNOWN["Qwen3-Next-80B-A3B-Instruct"].shape, QUANTISATIONS["int4-experts"])


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


def test_what_a_pc_lends_is_what_the_others_plan_with() -> None:
    """Two PCs that lend the same plan the same, each by itself."""
    shape, form = KNOWN["Qwen3-Next-80B-A3B-Instruct"].shape, QUANTISATIONS["int4-experts"]
    card = catalog.Place("RTX 4080", 15 * GIB, 716.8, (8, 9))
    told = cards_of(Lent((card, card), shape, form))
    assert told == (Card("RTX 4080", 15 * GIB, (8, 9)),) * 2
    rigs = [replace(member(name), cards=told) for name in "ab"]
    assert by_cards(shape, form)(tuple(rigs)) == NEXT(tuple(reversed(rigs)))


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


def test_a_wish_for_a_set_of_cards_is_every_rigs() -> None:
    """One owner's is enough, so that no two rigs plan differently."""
    pair = (member("a", 15, 15), replace(member("b", 15, 15), wish=Wished(tensor=4, context=4096)))
    assert NEXT(pair) == Division(("a", "b"), 4, context=4096)


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
