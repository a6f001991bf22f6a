"""All replicas of one model, with those that have room kept apart, by region and owner too. Pure.

A choice among a thousand nodes must not look at a thousand nodes: the free ones stand in lists, so
that one at random is one step. So do those whose slots are all taken, some of them by batch
requests, which give way to a chat. What its owner lends to nobody else stands in his list alone:
who may not have it never comes across it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from garage_ai.network.models import Node, Replica
from garage_ai.network.sharing import goes_first
from garage_ai.wire.frames import Priority, Route
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

    __slots__ = ("_lists",)

    def __init__(self) -> None:
        self._lists: dict[str, _Free] = {}

    def at(self, place: str) -> list[Replica]:
        found = self._lists.get(place)
        return found.replicas if found is not None else []

    def add(self, replica: Replica, places: Iterable[str]) -> None:
        for place in places:
            self._lists.setdefault(place, _Free()).add(replica)

    def remove(self, node: NodeId, places: Iterable[str]) -> None:
        for place in places:
            found = self._lists[place]
            found.remove(node)
            if not found.replicas:
                del self._lists[place]


class _Standing:
    """Where a replica stands, and what it adds: what it says of itself may be other by now."""

    __slots__ = (
        *("context", "free", "gives_way", "member", "places", "region", "replica", "seen"),
        "slots",
    )

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.seen = _seen(replica)
        self.member = replica.node.enrolled.member
        self.region = replica.node.enrolled.region
        self.places = _places(replica.node)
        self.free = self.gives_way = False
        self.slots = replica.served.slots
        self.context = replica.served.context


class Pool:
    """The replicas that may be chosen for one model name."""

    __slots__ = ("_all", "_contexts", "_free", "_giving_way", "owners", "regions", "slots")

    def __init__(self) -> None:
        self.slots = 0
        """Slots of all replicas together."""
        self.owners: Counter[str] = Counter()
        """The members whose nodes they are on."""
        self.regions: Counter[str | None] = Counter()
        """The regions they are in: a request for another need not look at any."""
        self._all: dict[NodeId, _Standing] = {}
        self._contexts: Counter[int] = Counter()
        self._free = _Lists()
        self._giving_way = _Lists()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Replica]:
        return (standing.replica for standing in self._all.values())

    @property
    def anyone(self) -> Replica:
        """One of them; a pool that can be asked for is not empty."""
        return next(iter(self._all.values())).replica

    @property
    def context(self) -> int | None:
        """The longest context, in tokens, in which one of them serves; None where there is none."""
        return max(self._contexts, default=None)

    def free(self, region: str | None = None) -> list[Replica]:
        """Give those with a free slot, in no order; not to be changed by the caller.

        With a region those in it, without one all; never those lent to their owner alone.
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

    def takes(self, route: Route) -> bool:
        """Tell whether any replica can be asked this."""
        return any(standing.replica.takes(route) for standing in self._all.values())

    def has_room(self, priority: Priority) -> bool:
        """Tell whether any replica that is not its owner's alone has room for such a request."""
        return bool(self.free() or (priority == "chat" and self.giving_way()))

    def has_room_of(self, member: str, priority: Priority) -> bool:
        """Tell whether any of a member's own nodes has."""
        return bool(self.free_of(member) or (priority == "chat" and self.giving_way_of(member)))

    def stands(self, replica: Replica) -> bool:
        """Tell whether a replica is here, and nothing by which it is chosen is other by now.

        But for its room, which `put` looks at.
        """
        standing = self._all.get(replica.node.id)
        if standing is None or standing.replica is not replica:
            return False
        return standing.seen == _seen(replica)

    def put(self, replica: Replica) -> bool:
        """Take a replica in, or place it anew; True when it has come to have room for somebody."""
        standing = self._all.get(replica.node.id)
        if standing is None or standing.replica is not replica:
            standing = self._enter(replica)
        free, gives_way = replica.has_room, replica.gives_way
        came = False
        if free is not standing.free:
            standing.free = came = free
            self._stand(self._free, standing, here=free)
        if gives_way is not standing.gives_way:
            standing.gives_way = gives_way
            self._stand(self._giving_way, standing, here=gives_way)
            came = came or gives_way
        return came

    def remove(self, node: NodeId) -> None:
        """Take a node's replica out; one that is not there is no matter."""
        standing = self._all.pop(node, None)
        if standing is None:
            return
        self.slots -= standing.slots
        self._contexts[standing.context] -= 1
        if not self._contexts[standing.context]:
            del self._contexts[standing.context]
        self.owners[standing.member] -= 1
        if not self.owners[standing.member]:
            del self.owners[standing.member]
        self.regions[standing.region] -= 1
        if standing.free:
            self._free.remove(node, standing.places)
        if standing.gives_way:
            self._giving_way.remove(node, standing.places)

    def _enter(self, replica: Replica) -> _Standing:
        self.remove(replica.node.id)
        standing = self._all[replica.node.id] = _Standing(replica)
        self.slots += standing.slots
        self._contexts[standing.context] += 1
        self.owners[standing.member] += 1
        self.regions[standing.region] += 1
        return standing

    def _stand(self, lists: _Lists, standing: _Standing, *, here: bool) -> None:
        if here:
            lists.add(standing.replica, standing.places)
        else:
            lists.remove(standing.replica.node.id, standing.places)


def _seen(replica: Replica) -> tuple[object, ...]:
    """Name all by which a filter, or a place, tells it from what it was."""
    node, served = replica.node, replica.served
    batch = served.batch is not None
    return node.enrolled, node.share, node.risen, node.trust, batch, served.slots, served.context


def _places(node: Node) -> tuple[str, ...]:
    enrolled = node.enrolled
    own = (_OWNER + enrolled.member,)
    # The operator goes first nowhere, so it finds its own among all others.
    if node.share == "own" and goes_first(enrolled.member):
        return own
    return (*own, ANYWHERE) if enrolled.region is None else (*own, ANYWHERE, enrolled.region)
