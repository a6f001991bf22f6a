"""Whose items are next: fair between members, the earlier deadline first within one. Pure.

Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996), as where requests wait for a node: a
member's item gets a tag a step of 1/weight behind its one before, or where the clock stands,
whichever is later; the lowest tag goes first. So a batch of a million items is served in turn with
one of ten, twice the weight is twice the turns, and nobody waits for ever.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

LIGHTEST: Final = 0.5
HEAVIEST: Final = 8.0
"""Weights are held between these, so that standing buys turns but never all of them."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A batch of which so many items could be begun now."""

    batch: str
    member: str
    weight: float
    deadline: datetime
    items: int


class Turns:
    """Turns of members, remembered while they are ahead of the clock."""

    def __init__(self) -> None:
        self._clock = 0.0
        self._next: dict[str, float] = {}

    def share(self, room: int, waiting: Iterable[Waiting]) -> dict[str, int]:
        """Divide room for items among batches; gives only those that get some."""
        queues = _by_member(waiting)
        shares: dict[str, int] = {}
        for _ in range(room):
            member = min(queues, key=lambda each: (self._tag(each), each), default=None)
            if member is None:
                break
            queue = queues[member]
            self._clock = self._tag(member)
            self._next[member] = self._clock + 1 / min(max(queue.weight, LIGHTEST), HEAVIEST)
            batch = queue.take()
            shares[batch] = shares.get(batch, 0) + 1
            if not queue.left:
                del queues[member]
        self._next = {member: tag for member, tag in self._next.items() if tag > self._clock}
        return shares

    def _tag(self, member: str) -> float:
        return max(self._next.get(member, 0.0), self._clock)


@dataclass(slots=True)
class _Queue:
    """A member's batches, the latest deadline first, with what is left of each."""

    weight: float
    left: list[tuple[str, int]]

    def take(self) -> str:
        batch, items = self.left.pop()
        if items > 1:
            self.left.append((batch, items - 1))
        return batch


def _by_member(waiting: Iterable[Waiting]) -> dict[str, _Queue]:
    queues: dict[str, _Queue] = {}
    for each in sorted(waiting, key=lambda each: (each.deadline, each.batch), reverse=True):
        if each.items > 0:
            queue = queues.setdefault(each.member, _Queue(each.weight, []))
            queue.left.append((each.batch, each.items))
    return queues


__all__ = ["HEAVIEST", "LIGHTEST", "Turns", "Waiting"]
