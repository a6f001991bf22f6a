"""A rig's part of a gang is what its cards hold of the model."""

import pytest

from garage_ai.node.group.messages import Epoch, GangPlan, Place
from garage_ai.node.group.sharing import parts_of, terms_of
from garage_ai.wire.gangs import Rig
from garage_ai.wire.ids import NodeId

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
DIGEST = "sha256:" + "d" * 64


def plan(rigs: int, tensor: int, pipeline: int = 1, layers: tuple[int, ...] = ()) -> GangPlan:
    """Plan over so many rigs."""
    return GangPlan(
        tuple([Place(each) for each in (A, B, C)[:rigs]]), tensor, pipeline, layers=layers
    )


@pytest.mark.parametrize(
    ("gang", "parts"),
    [
        (plan(2, tensor=2), (1, 1)),  # a set over two rigs: half of every layer each
        (plan(3, tensor=3), (1, 1, 1)),
        (plan(2, 1, 2, (30, 18)), (5, 3)),  # a stage each
        (plan(2, 2, 2, (30, 18)), (5, 3)),  # two cards each, which share a stage
        (plan(2, 1, 4, (16, 14, 10, 8)), (5, 3)),  # two stages each
        (plan(3, 2, 3, (24, 12, 12)), (2, 1, 1)),
        (plan(2, 1, 2), (1, 1)),  # as the engine deals out
        (plan(2, tensor=3), ()),
        (plan(2, 1, 2, (48,)), ()),
    ],
)
def test_layers_are_counted_for_each_card(gang: GangPlan, parts: tuple[int, ...]) -> None:
    """In the smallest whole numbers; nothing for what no engine could run."""
    assert parts_of(gang) == parts


def test_terms_name_all_by_rank() -> None:
    """The same on each rig, since all have the same plan; none for a gang of one."""
    terms = terms_of(plan(2, 1, 2, (30, 18)), Epoch(4, A), DIGEST)
    assert terms is not None
    assert (terms.leader, terms.epoch, terms.rigs) == (A, 4, (Rig(A, 5), Rig(B, 3)))
    assert terms_of(plan(1, 2), Epoch(4, A), DIGEST) is None
    assert terms_of(plan(2, tensor=3), Epoch(4, A), DIGEST) is None
