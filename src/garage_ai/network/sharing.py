"""Whose requests a node serves, by its owner's word, and who goes first on it. Pure.

The operator's account belongs to the network and to no volunteer: its keys are handed out to
anybody. So its requests are no member's, and go first nowhere; its own nodes serve it like any
owner's.
"""

from typing import Literal

from garage_ai.network.models import EnrolledNode, Node
from garage_ai.storage.ids import OPERATOR
from garage_ai.wire.messages import SHARED_WITH, Asker


def asker_on(node: EnrolledNode, member: str) -> Asker:
    """Say who a member is to a node; empty where nobody knows who asks."""
    if member and member == node.member:
        return "own"
    return "member" if member and member != OPERATOR else "other"


def serves(node: Node, member: str) -> bool:
    """Tell whether the node's owner lends it to the member."""
    return node.share == "all" or asker_on(node.enrolled, member) in SHARED_WITH[node.share]


def told(node: Node, member: str) -> Asker | Literal[""]:
    """Say what a node hears of who asks: nothing where it need not know."""
    return "" if node.share == "all" else asker_on(node.enrolled, member)


def goes_first(member: str) -> bool:
    """Tell whether the member goes first on nodes of its own."""
    return bool(member) and member != OPERATOR


__all__ = ["asker_on", "goes_first", "serves", "told"]
