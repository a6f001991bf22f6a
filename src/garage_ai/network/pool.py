"""All replicas of one model, with those that have room kept apart, by region and owner too. Pure.

A choice among a thousand nodes must not look at a thousand nodes: the free ones stand in lists, so
that one at random is one step. So do those whose slots are all taken, some of them by batch
requests, which give way to a chat.
"""

from collections.abc import Iterator
from typing import Final

from garage_ai.network.models import EnrolledNode, Replica
from garage_ai.wire.frames import Priority
from garage_ai.wire.ids import NodeId

ANYWHERE: Final = "*"
"""Stands for all regions where a region is asked for; no region is named so."""
_OWNER: Final = "@"
"""Before a member: the list of its own nodes; no region begins so."""


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


class _Lists:
    """Replicas of one kind of room, in a list for each place where they may be looked for."""

    __slots__ = ("_lists", "_standing")

    def __init__(self) -> None:
        self._lists: dict[str, _Free] = {}
        # Where a replica stands: a node's entry in the books may say otherwise by now.
        self._standing: dict[NodeId, tuple[str, ...]] = {}

    def at(self, place: str) -> list[Replica]:
        found = self._lists.get(place)
        return found.replicas if found is not None else []

    def put(self, replica: Replica, *, here: bool) -> bool:
        """Let it stand here or not; True when it has come to."""
        node = replica.node.id
        if not here:
            self.remove(node)
            return False
        if node in self._standing:
            return False
        places = self._standing[node] = _places(replica.node.enrolled)
        for place in places:
            self._lists.setdefault(place, _Free()).add(replica)
        return True

    def remove(self, node: NodeId) -> None:
        for place in self._standing.pop(node, ()):
            found = self._lists[place]
            found.remove(node)
            if not found.replicas:
                del self._lists[place]


class Pool:
    """The replicas that may be chosen for one model name."""

    __slots__ = ("_all", "_free", "_giving_way")

    def __init__(self) -> None:
        self._all: dict[NodeId, Replica] = {}
        self._free = _Lists()
        self._giving_way = _Lists()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Replica]:
        return iter(self._all.values())

    def free(self, region: str | None = None) -> list[Replica]:
        """Give those with a free slot, in no order; not to be changed by the caller.

        With a region those in it, without one all.
        """
        return self._free.at(region or ANYWHERE)

    def free_of(self, member: str) -> list[Replica]:
        """Give those of a member's own nodes that have a free slot, as `free` does."""
        return self._free.at(_OWNER + member)

    def giving_way(self, region: str | None = None) -> list[Replica]:
        """Give those where batch requests hold what a chat would need, as `free` does."""
        return self._giving_way.at(region or ANYWHERE)

    def giving_way_of(self, member: str) -> list[Replica]:
        """Give those of a member's own nodes where batch requests do, as `free` does."""
        return self._giving_way.at(_OWNER + member)

    def has_room(self, priority: Priority) -> bool:
        """Tell whether any replica has room for such a request."""
        return bool(self.free() or (priority == "chat" and self.giving_way()))

    @property
    def slots(self) -> int:
        """Slots of all replicas together."""
        return sum(replica.served.slots for replica in self._all.values())

    def put(self, replica: Replica) -> bool:
        """Take a replica in, or place it anew; True when it has come to have room for somebody."""
        node = replica.node.id
        if self._all.get(node) is not replica:
            self.remove(node)
            self._all[node] = replica
        freed = self._free.put(replica, here=replica.has_room)
        return self._giving_way.put(replica, here=replica.gives_way) or freed

    def remove(self, node: NodeId) -> None:
        """Take a node's replica out; one that is not there is no matter."""
        self._all.pop(node, None)
        self._free.remove(node)
        self._giving_way.remove(node)


def _places(node: EnrolledNode) -> tuple[str, ...]:
    everywhere = (ANYWHERE, _OWNER + node.member)
    return everywhere if node.region is None else (*everywhere, node.region)
