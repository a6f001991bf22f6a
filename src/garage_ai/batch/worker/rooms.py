"""How many items may begin: of each line, and of all lines that may meet on the same nodes. Pure.

A line has the slots of the nodes that may serve it. What it has under way beyond those waits for
them alone, and takes nothing of what all lines of a model have together: so one that few nodes may
serve keeps nobody else from the others. Whose items are next is one order for all of them.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from garage_ai.batch.models import BatchId
from garage_ai.batch.worker.asking import Job
from garage_ai.batch.worker.items import Line, Queue
from garage_ai.batch.worker.turns import Turns, Waiting
from garage_ai.batch.worker.window import Window, filled

MOST_AHEAD: Final = 512
"""Most items of one model that are claimed before their turn."""

FRESH_SECONDS: Final = 0.3
"""How long it is not asked again what the network can do: that is a look at all nodes."""


class Capacity(Protocol):
    """What the network could do at once."""

    def lines(self, queues: Iterable[Queue]) -> dict[BatchId, Line]:
        """Say of which line each batch's items are now."""
        ...

    def slots(self, line: Line) -> Mapping[str, int]:
        """Count the slots of each node that may serve a line now."""
        ...


@dataclass(slots=True, eq=False)
class Work:
    """The items of one line: how many run, and which are next, each with its place in the order.

    `begun` counts what runs by its batch; `waiting` are batches that had more at the last look.
    """

    slots: int = 0
    window: Window = field(default_factory=Window)
    ready: deque[tuple[int, Job]] = field(default_factory=deque)
    begun: Counter[BatchId] = field(default_factory=Counter)
    waiting: set[BatchId] = field(default_factory=set)

    @property
    def ahead(self) -> int:
        """How many items are to be claimed before their turn."""
        return min(self.slots, MOST_AHEAD)

    @property
    def wants_more(self) -> bool:
        """Whether it is time to claim some of what waits."""
        return bool(self.waiting) and len(self.ready) <= self.ahead // 2

    def begin(self) -> Job:
        """Take the next item, which runs from now on."""
        _, job = self.ready.popleft()
        self.window.running += 1
        self.begun[job.queue.batch] += 1
        return job

    def ended(self, job: Job) -> None:
        """Take note that an item runs no more."""
        self.window.running -= 1
        self.begun[job.queue.batch] -= 1
        if not self.begun[job.queue.batch]:
            del self.begun[job.queue.batch]

    def sift(self, keeps: Callable[[Job], bool]) -> list[Job]:
        """Let go of items that are next and not to be kept."""
        before, self.ready = self.ready, deque()
        gone = list[Job]()
        for place in before:
            if keeps(place[1]):
                self.ready.append(place)
            else:
                gone.append(place[1])
        return gone

    def is_alone(self, batch: BatchId) -> bool:
        """Tell whether nobody but this batch has anything here."""
        return self.begun.keys() | self.waiting <= {batch}


class Room:
    """The lines of one model, in everybody's engines or in those of one job."""

    def __init__(self) -> None:
        self.works: dict[Line, Work] = {}
        self.slots = 0
        """Slots of all nodes that may serve any of the lines."""
        self._turns = Turns()

    def left(self) -> int:
        """Tell how many more may begin, of all lines together."""
        used = sum([min(work.window.running, work.slots) for work in self.works.values()])
        return max(0, filled(self.slots) - used)

    def next(self, now: float) -> Work | None:
        """Give the line whose item is next of those that have room."""
        if not self.left():
            return None
        able = [
            work
            for work in self.works.values()
            if work.ready and work.window.room(work.slots, now) > 0
        ]
        return min(able, key=lambda work: work.ready[0][0], default=None)

    def share(self, waiting: Iterable[Waiting], now: float) -> dict[str, int]:
        """Say how many items of each batch are wanted."""
        going = {e: work for e, work in self.works.items() if not work.window.is_paused(now)}
        rooms = dict.fromkeys(self.works, 0) | {
            line: max(0, work.window.room(work.slots, now) + work.ahead - len(work.ready))
            for line, work in going.items()
        }
        ahead = min(self.slots, MOST_AHEAD) - sum(len(work.ready) for work in going.values())
        return self._turns.share(max(0, self.left() + ahead), waiting, rooms)

    def forget(self, kept: Collection[Line]) -> None:
        """Forget lines of which nothing waits or runs."""
        for line, work in list(self.works.items()):
            if line not in kept and not work.ready and not work.window.running:
                del self.works[line]


class Rooms:
    """All lines of which something waits or runs."""

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._rooms: dict[tuple[str, str], Room] = {}
        self._lines: dict[BatchId, Line] = {}
        self._looked = float("-inf")
        self._claimed = 0

    def __bool__(self) -> bool:
        return bool(self._rooms)

    def __iter__(self) -> Iterator[Room]:
        return iter(self._rooms.values())

    @property
    def works(self) -> list[Work]:
        """All lines."""
        return [work for room in self for work in room.works.values()]

    @property
    def ready(self) -> list[Job]:
        """All items that are next."""
        return [job for work in self.works for _, job in work.ready]

    def look(self, queues: Mapping[BatchId, Queue], now: float) -> None:
        """Take in what waits, and what the network can do now where that was not just asked."""
        is_old = now - self._looked >= FRESH_SECONDS or not queues.keys() <= self._lines.keys()
        if is_old:
            self._lines = self._capacity.lines(queues.values())
        kept = {self._lines[batch] for batch in queues}
        for target, room in list(self._rooms.items()):
            room.forget(kept)
            if not room.works:
                del self._rooms[target]
        for work in self.works:
            work.waiting = set()
        is_old |= self._add(kept)
        for batch in queues:
            self.of(batch).waiting.add(batch)
        if is_old:
            self._count()
            self._looked = now

    def of(self, batch: BatchId) -> Work:
        """Give the line of a batch that waited at the last look."""
        line = self._lines[batch]
        return self._rooms[line.model, line.job].works[line]

    def share(
        self, queues: Iterable[Queue], weigh: Callable[[Queue], float], now: float
    ) -> dict[str, int]:
        """Say how many items of each batch that waited at the last look are wanted."""
        waiting: dict[tuple[str, str], list[Waiting]] = {}
        for q in queues:
            line = self._lines[q.batch]
            one = Waiting(q.batch, q.member, weigh(q), q.deadline, q.items, line)
            waiting.setdefault((line.model, line.job), []).append(one)
        wanted: dict[str, int] = {}
        for target, found in waiting.items():
            wanted |= self._rooms[target].share(found, now)
        return wanted

    def put(self, job: Job) -> None:
        """Put an item that was claimed behind those that are next."""
        self._claimed += 1
        self.of(job.queue.batch).ready.append((self._claimed, job))

    def _add(self, lines: Iterable[Line]) -> bool:
        is_new = False
        for line in lines:
            room = self._rooms.setdefault((line.model, line.job), Room())
            if line not in room.works:
                room.works[line] = Work()
                is_new = True
        return is_new

    def _count(self) -> None:
        for room in self:
            nodes: dict[str, int] = {}
            for line, work in room.works.items():
                found = self._capacity.slots(line)
                work.slots = sum(found.values())
                nodes |= found
            room.slots = sum(nodes.values())


__all__ = ["FRESH_SECONDS", "MOST_AHEAD", "Capacity", "Room", "Rooms", "Work"]
