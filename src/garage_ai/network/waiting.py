"""The waiting room: requests for which every node is busy, served fairly between members. Pure.

In each model's line a request gets a start tag: a step of 1/weight behind its member's one before,
or behind where the line stands now, whichever is later; the lowest tag goes first (start-time fair
queueing: Goyal, Vin and Cheng, SIGCOMM 1996). So a member with two hundred requests is served in
turn with one who has a single one, twice the weight is twice the turns, and each turn brings the
line's clock nearer to every tag in it: nobody waits for ever.

Bounded in number; how long one waits is the shell's clock.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from garage_ai.network.errors import NoCapacity

RETRY_AFTER: Final = 5.0

LIGHTEST: Final = 0.5
HEAVIEST: Final = 8.0
"""Weights are held between these, so that standing buys turns but never the whole line."""

FIRST: Final = float("-inf")
"""The tag of an answer under way, which goes before all others."""

Ticket = TypeVar("Ticket")


@dataclass(slots=True)
class Turn:
    """A request that looks for room: since when, and by which tag and number it stood in a line.

    One that was let in and found its slot taken looks on, and stands again where it stood.
    """

    since: float
    stood: tuple[float, int] | None = None


@dataclass(slots=True)
class _Place(Generic[Ticket]):
    ticket: Ticket
    member: str
    tag: float


@dataclass(slots=True)
class _Line(Generic[Ticket]):
    """Those who wait for one model; `order` is by tag, then number, as is each member's own."""

    places: dict[int, _Place[Ticket]] = field(default_factory=dict)
    order: list[tuple[float, int]] = field(default_factory=list)
    members: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    clock: float = 0.0

    def add(
        self, number: int, ticket: Ticket, member: str, weight: float | None, tag: float | None
    ) -> float:
        own = self.members.setdefault(member, [])
        if weight is None:
            key = (FIRST, -number)  # the newest of them goes before the others
        else:
            begins = max(self.clock, own[-1][0] if own else FIRST)
            fresh = begins + 1 / min(max(weight, LIGHTEST), HEAVIEST)
            # An earlier line's tags may be far beyond this one's.
            key = (fresh if tag is None else min(fresh, tag), number)
        self.places[number] = _Place(ticket, member, key[0])
        insort(self.order, key)
        insort(own, key)
        return key[0]

    def remove(self, number: int, *, served: bool) -> _Place[Ticket] | None:
        place = self.places.pop(number, None)
        if place is None:
            return None
        key = (place.tag, -number if place.tag == FIRST else number)
        own = self.members[place.member]
        if served:
            # One that was served out of its turn, as it alone suited, moves nobody's clock on.
            self.clock = max(self.clock, own[0][0])
        for line in (self.order, own):
            del line[bisect_left(line, key)]
        if not own:
            del self.members[place.member]
        return place


class WaitingRoom(Generic[Ticket]):
    """A fair line for each model, or whatever is waited for, all within one bound."""

    def __init__(self, size: int, push_out: Callable[[Ticket], None] = lambda _: None) -> None:
        """Hold so many; `push_out` is told who lost its place to a member with fewer."""
        self._size = size
        self._push_out = push_out
        self._lines: dict[Hashable, _Line[Ticket]] = {}
        self._by_member: dict[str, dict[int, Hashable]] = {}
        self._count = 0
        self._next = 0

    def __len__(self) -> int:
        return self._count

    def waits(self, target: Hashable) -> bool:
        """Tell whether anybody waits for the model; who comes later must let it go first."""
        return target in self._lines

    def members(self, target: Hashable) -> Collection[str]:
        """Name those who wait for the model."""
        line = self._lines.get(target)
        return line.members if line is not None else ()

    def enter(
        self,
        target: Hashable,
        ticket: Ticket,
        *,
        member: str = "",
        weight: float = 1.0,
        first: bool = False,
        turn: Turn | None = None,
    ) -> int:
        """Queue up, at the head if `first`, where it stood if it has had a `turn`; get a number.

        Where the room is full, the newest request of the member with most of them makes place for
        one who has fewer. Raises: NoCapacity when nobody has.
        """
        if self._count >= self._size:
            self._make_place(0 if first else len(self._by_member.get(member, ())))
        self._next += 1
        before, number = (turn and turn.stood) or (None, self._next)
        line = self._lines.setdefault(target, _Line())
        tag = line.add(number, ticket, member, None if first else weight, before)
        if not first:
            self._by_member.setdefault(member, {})[number] = target
            if turn is not None:
                turn.stood = tag, number
        self._count += 1
        return number

    def leave(self, target: Hashable, number: int) -> None:
        """Step out of the queue; harmless for one who was served."""
        self._remove(target, number, served=False)

    def serve(
        self,
        target: Hashable,
        offer: Callable[[Ticket], bool],
        more: Callable[[], bool] = lambda: True,
    ) -> None:
        """Offer room to those who wait for the model, in order; those whom it suits step out.

        One whom it does not suit (it wants another region) keeps no other back. Nobody is asked
        once there is no `more`.
        """
        line = self._lines.get(target)
        if line is None:
            return
        for _, number in list(line.order):
            if not more():
                return
            place = line.places.get(abs(number))
            if place is not None and offer(place.ticket):
                self._remove(target, abs(number), served=True)

    def _make_place(self, own: int) -> None:
        most = max(self._by_member, key=lambda each: len(self._by_member[each]), default=None)
        if most is None or len(self._by_member[most]) <= own + 1:
            raise NoCapacity("Every node is busy and the queue is full.", retry_after=RETRY_AFTER)
        number, target = next(reversed(self._by_member[most].items()))
        place = self._remove(target, number, served=False)
        if place is not None:
            self._push_out(place.ticket)

    def _remove(self, target: Hashable, number: int, *, served: bool) -> _Place[Ticket] | None:
        line = self._lines.get(target)
        place = line.remove(number, served=served) if line is not None else None
        if line is None or place is None:
            return None
        self._count -= 1
        if not line.places:
            del self._lines[target]
        own = self._by_member.get(place.member, {})
        own.pop(number, None)
        if not own:
            self._by_member.pop(place.member, None)
        return place


__all__ = ["HEAVIEST", "LIGHTEST", "RETRY_AFTER", "Turn", "WaitingRoom"]
