"""How a group is, as one of its rigs sees it: for that rig's owner."""

from typing import Protocol, runtime_checkable

import msgspec

from garage_ai.node.group.gang import Phase
from garage_ai.node.group.messages import Epoch, GangPlan, Measured, Member


class GroupView(msgspec.Struct, frozen=True):
    """The gang of now, who is there, and what was measured to each of them.

    `plan` is None while there is no gang. `refused` says why somebody who called was not taken for
    a rig of this group, the last time. While it `waits`, no gang can begin without other rigs.
    """

    name: str
    epoch: Epoch
    phase: Phase
    plan: GangPlan | None
    members: tuple[Member, ...]
    links: tuple[Measured, ...]
    refused: str
    waits: bool = False


@runtime_checkable
class Grouped(Protocol):
    """An engine that is part of a group."""

    def view(self) -> GroupView:
        """Say how the group is."""

    def shares(self) -> bytes:
        """Give the document of how its rigs share, where a gang is led from; else nothing."""


__all__ = ["GroupView", "Grouped"]
