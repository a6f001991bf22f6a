"""A gang is divided as the planner says, and what it refuses is said in a sentence."""

import pytest
from msgspec.structs import replace
from tests.parts.gang_world import DIGEST

from garage_ai import catalog
from garage_ai.catalog import KNOWN, QUANTISATIONS
from garage_ai.cli.reason_words import in_swedish
from garage_ai.node.engines.vllm_options import Lent
from garage_ai.node.group.by_cards import by_cards, cards_of
from garage_ai.node.group.gang import Refusal
from garage_ai.node.group.messages import Card, GangPlan, Measured, Member, TunnelEnd
from garage_ai.node.group.planning import Division, gang_planner
from garage_ai.wire.ids import NodeId

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
        ((member("a"),), "no_card"),
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
