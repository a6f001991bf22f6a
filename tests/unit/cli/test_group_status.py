"""A node's group, as its owner is shown it."""

from typing import get_args

import pytest
from tests.parts.gang_world import DIGEST, rigs_of

from garage_ai.cli.group_status import group_rows
from garage_ai.cli.group_words import say
from garage_ai.node.group.gang import Phase
from garage_ai.node.group.messages import NEVER, Epoch, GangPlan, Measured, Member, Place
from garage_ai.node.group.view import GroupView

A, B, C = rigs_of(3)


def test_the_gang_and_each_other_rig_have_a_row() -> None:
    """With what lies between, as far as it is known, and whom the rig did not let in."""
    view = GroupView(
        name="garage",
        epoch=Epoch(1, A),
        phase="serving",
        plan=GangPlan((Place(A), Place(B)), tensor=1, pipeline=2, layers=(30, 18)),
        members=(Member(A, DIGEST, willing=True, agreed=b"s"), Member(B, DIGEST, willing=True)),
        links=(Measured(B, 0.31, 0.94),),
        refused="its secret is another",
    )
    assert list(group_rows(view, A)) == [
        ("group", "garage: serving together, led by rig-0"),
        ("part", "5 of 8 of what it earns"),
        ("rig", "rig-1: lends, 0.31 ms, 0.94 Gbit/s"),
        ("turned away", "its secret is another"),
    ]


def test_rigs_that_are_apart() -> None:
    """One that its owner keeps, and to which nothing was measured yet; together they failed."""
    avoids = ((C, A),)
    members = (Member(A, DIGEST, willing=True, avoids=avoids), Member(C, DIGEST, avoids=avoids))
    view = GroupView("garage", NEVER, "apart", None, members, (), "")
    assert list(group_rows(view, A)) == [
        ("group", "garage: each on its own"),
        ("rig", "rig-2: is kept by its owner now, not measured yet"),
        ("failed", say("status.failed.team", rigs="rig-0, rig-2")),
    ]


@pytest.mark.parametrize("phase", get_args(Phase))
def test_every_phase_has_words(phase: Phase) -> None:
    """An owner is not shown the machine's own."""
    assert say(f"status.phase.{phase}") != phase
