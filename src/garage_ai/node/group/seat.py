"""A rig's place in its group."""

from collections.abc import Callable
from dataclasses import dataclass, field

from garage_ai.node.group.folder import GroupChoice
from garage_ai.node.group.messages import Wished
from garage_ai.wire.ids import NodeId


@dataclass(frozen=True, slots=True)
class Seat:
    """What makes this rig a part of its group; `sign` signs with the node's key of the moment."""

    node: NodeId
    choice: GroupChoice
    secret: bytes
    sign: Callable[[bytes], bytes]
    wish: Wished = field(default_factory=Wished)


__all__ = ["Seat"]
