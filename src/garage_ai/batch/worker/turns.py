"""Whose items are next: fair between members, the earlier deadline first within one. Pure.

Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996), as where requests wait for a node: a
member's item gets a tag a step of 1/weight behind its one before, or where the clock stands,
whichever is later; the lowest tag goes first. So a batch of a million items is served in turn with
one of ten, twice the weight is twice the turns, and nobody waits for ever.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from garage_ai.batch.worker.items import Line

LIGHTEST: Final = 0.5
HEAVIEST: Final = 8.0
"""Weights are held between these, so that standing buys turns but never all of them."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A batch of which so many items could be begun now, in the room of its `line`."""

    batch: str
    member: str
    weight: float
    deadline: datetime
    items: int
    line: Line | None = None


class Turns:
    """Turns of members, remembered while they are ahead of the clock."""

    def __init__(self) -> None:
        self._clock = 0.0
        self._next: dict[str, float] = {}

    def share(
        self, room: int, waiting: Iterable[Waiting], rooms: Mapping[Line, int] | None = None
    ) -> dict[str, int]:
        """Divide room for items among batches; gives only those that get some.

        Of it those of a line get what is in `rooms` at most; one that is not there is not bounded.
        """
        left: dict[Line | None, int] = dict(rooms.items()) if rooms else {}
        queues = _by_member(each for each in waiting if left.get(each.line, 1) > 0)
        shares: dict[str, int] = {}
        for _ in range(room):
            member = min(queues, key=lambda each: (self._tag(each), each), default=None)
            if member is None:
                break
            queue = queues[member]
            self._clock = self._tag(member)
            self._next[member] = self._clock + 1 / min(max(queue.weight, LIGHTEST), HEAVIEST)
            taken = queue.take()
            shares[taken.batch] = shares.get(taken.batch, 0) + 1
            if not queue.left:
                del queues[member]
            if taken.line in left:
                left[taken.line] -= 1
                if not left[taken.line]:
                    queues = _without(queues, taken.line)
        self._next = {member: tag for member, tag in self._next.items() if tag > self._clock}
        return shares

    def _tag(self, member: str) -> float:
        return max(self._next.get(member, 0.0), self._clock)


@dataclass(slots=True)
class _Queue:
    """A member's batches, the latest deadline first, with what is left of each."""

    weight: float
    left: list[tuple[Waiting, int]]

    def take(self) -> Waiting:
        batch, items = self.left.pop()
        if items > 1:
            self.left.append((batch, items - 1))
        return batch


def _by_member(waiting: Iterable[Waiting]) -> dict[str, _Queue]:
    queues: dict[str, _Queue] = {}
    for each in sorted(waiting, key=lambda each: (each.deadline, each.batch), reverse=True):
        if each.items > 0:
            queue = queues.setdefault(each.member, _Queue(each.weight, []))
            queue.left.append((each, each.items))
    return queues


def _without(queues: Mapping[str, _Queue], line: Line | None) -> dict[str, _Queue]:
    """Leave out the batches of a line that has no more room."""
    for queue in queues.values():
        queue.left = [(each, items) for each, items in queue.left if each.line != line]
    return {member: queue for member, queue in queues.items() if queue.left}


__all__ = ["HEAVIEST", "LIGHTEST", "Turns", "Waiting"]
