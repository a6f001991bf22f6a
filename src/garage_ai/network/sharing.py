"""Whose requests a node serves, by its owner's word, and who goes first on it. Pure.

The operator's account belongs to the network and to no volunteer: its keys are handed out to
anybody. So its requests are no member's, and go first nowhere; its own nodes serve it like any
owner's.
"""

from collections.abc import Collection, Iterable
from typing import Final, Literal

from garage_ai.network.models import EnrolledNode, Node
from garage_ai.storage.ids import OPERATOR
from garage_ai.wire.messages import SHARED_WITH, Asker

SOME_MEMBER: Final = "*"
"""Stands for every member that owns none of the nodes in question; no member's id is so."""


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


def narrow_owners(nodes: Iterable[Node]) -> frozenset[str]:
    """Name the owners of those nodes that do not serve everybody."""
    return frozenset([node.enrolled.member for node in nodes if node.share != "all"])


def alike(member: str, owners: Collection[str]) -> str:
    """Name one asker for all whom the same nodes serve; `owners` are the nodes' `narrow_owners`."""
    if member in owners:
        return member
    return SOME_MEMBER if owners and goes_first(member) else ""


__all__ = ["SOME_MEMBER", "alike", "asker_on", "goes_first", "narrow_owners", "serves", "told"]
