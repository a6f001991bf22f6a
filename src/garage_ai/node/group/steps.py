"""What a gang's machine asks for plans, and what it has its rig do."""

from collections.abc import Callable
from dataclasses import dataclass

from garage_ai.node.group.messages import Epoch, GangMessage, GangPlan, Member
from garage_ai.wire.ids import NodeId


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no gang can be made of those who are there."""

    reason: str


Planner = Callable[[tuple[Member, ...]], GangPlan | Refusal]
"""From those who are free, by their ids, to a gang. The same for all: it must be deterministic."""


@dataclass(frozen=True, slots=True)
class Send:
    """Tell another rig something."""

    to: NodeId
    message: GangMessage


@dataclass(frozen=True, slots=True)
class StartRank:
    """Start this rig's part of a gang."""

    epoch: Epoch
    plan: GangPlan


@dataclass(frozen=True, slots=True)
class EndRank:
    """End this rig's part of a gang, at once."""

    epoch: Epoch


Instruction = Send | StartRank | EndRank


__all__ = ["EndRank", "Instruction", "Planner", "Refusal", "Send", "StartRank"]
