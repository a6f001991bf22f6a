"""All replicas of one model, with those that have room kept apart. Pure.

A choice among a thousand nodes must not look at a thousand nodes: the free ones stand in a list, so
that one at random is one step.
"""

from collections.abc import Iterator

from garage_ai.network.models import Replica
from garage_ai.wire.ids import NodeId


class Pool:
    """The replicas that may be chosen for one model name."""

    __slots__ = ("_all", "_free", "_place")

    def __init__(self) -> None:
        self._all: dict[NodeId, Replica] = {}
        self._free: list[Replica] = []
        self._place: dict[NodeId, int] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Replica]:
        return iter(self._all.values())

    @property
    def free(self) -> list[Replica]:
        """Those with a free slot, in no order; not to be changed by the caller."""
        return self._free

    @property
    def slots(self) -> int:
        """Slots of all replicas together."""
        return sum(replica.served.slots for replica in self._all.values())

    def put(self, replica: Replica) -> bool:
        """Take a replica in, or place it anew; True when it has come to have room."""
        node = replica.node.id
        if self._all.get(node) is not replica:
            self.remove(node)
            self._all[node] = replica
        if replica.has_room and node not in self._place:
            self._place[node] = len(self._free)
            self._free.append(replica)
            return True
        if not replica.has_room:
            self._take_from_free(node)
        return False

    def remove(self, node: NodeId) -> None:
        """Take a node's replica out; one that is not there is no matter."""
        self._all.pop(node, None)
        self._take_from_free(node)

    def _take_from_free(self, node: NodeId) -> None:
        place = self._place.pop(node, None)
        if place is None:
            return
        last = self._free.pop()
        if last.node.id != node:
            self._free[place] = last
            self._place[last.node.id] = place
