"""All replicas of one model, with those that have room kept apart, by region too. Pure.

A choice among a thousand nodes must not look at a thousand nodes: the free ones stand in lists, so
that one at random is one step.
"""

from collections.abc import Iterator
from typing import Final

from garage_ai.network.models import Replica
from garage_ai.wire.ids import NodeId

ANYWHERE: Final = "*"
"""Stands for all regions where a region is asked for; no region is named so."""


class _Free:
    """Replicas in no order; putting in, taking out and drawing one cost the same for any number."""

    __slots__ = ("_place", "replicas")

    def __init__(self) -> None:
        self.replicas: list[Replica] = []
        self._place: dict[NodeId, int] = {}

    def add(self, replica: Replica) -> None:
        self._place[replica.node.id] = len(self.replicas)
        self.replicas.append(replica)

    def remove(self, node: NodeId) -> None:
        place = self._place.pop(node)
        last = self.replicas.pop()
        if last.node.id != node:
            self.replicas[place] = last
            self._place[last.node.id] = place


class Pool:
    """The replicas that may be chosen for one model name."""

    __slots__ = ("_all", "_free", "_regions")

    def __init__(self) -> None:
        self._all: dict[NodeId, Replica] = {}
        self._free: dict[str, _Free] = {}
        # Where a free replica stands: a node's entry in the books may name another region by now.
        self._regions: dict[NodeId, str | None] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Replica]:
        return iter(self._all.values())

    def free(self, region: str | None = None) -> list[Replica]:
        """Give those with a free slot, in no order; not to be changed by the caller.

        With a region those in it, without one all.
        """
        free = self._free.get(region or ANYWHERE)
        return free.replicas if free is not None else []

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
        if replica.has_room and node not in self._regions:
            self._add_to_free(replica)
            return True
        if not replica.has_room:
            self._take_from_free(node)
        return False

    def remove(self, node: NodeId) -> None:
        """Take a node's replica out; one that is not there is no matter."""
        self._all.pop(node, None)
        self._take_from_free(node)

    def _add_to_free(self, replica: Replica) -> None:
        region = self._regions[replica.node.id] = replica.node.enrolled.region
        for name in _lists(region):
            self._free.setdefault(name, _Free()).add(replica)

    def _take_from_free(self, node: NodeId) -> None:
        if node not in self._regions:
            return
        for name in _lists(self._regions.pop(node)):
            free = self._free[name]
            free.remove(node)
            if not free.replicas:
                del self._free[name]


def _lists(region: str | None) -> tuple[str, ...]:
    return (ANYWHERE,) if region is None else (ANYWHERE, region)
