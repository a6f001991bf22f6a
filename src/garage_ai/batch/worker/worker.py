"""Run the items of batches: in each gateway, as many as there is room for.

Items are claimed some ahead of their turn, so that a slot that falls free never waits for the
database. A worker that is killed leaves leases that run out; its items are then done by others.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, Protocol, Self

import structlog

from garage_ai.accounts import LimitReached
from garage_ai.batch.models import BatchId
from garage_ai.batch.requests import ReadRequest
from garage_ai.batch.store import FileStore
from garage_ai.batch.validation import Desk
from garage_ai.batch.worker.asking import Asking, Job, Serving
from garage_ai.batch.worker.bills import ItemBill, ItemBills
from garage_ai.batch.worker.ender import Ender
from garage_ai.batch.worker.fates import ENGINES_WORDS, Failure, pause_after
from garage_ai.batch.worker.items import Ended, Item, Items, Queue
from garage_ai.batch.worker.lines import given_up, line_of
from garage_ai.batch.worker.pauses import Pauses
from garage_ai.batch.worker.rooms import Capacity, Room, Rooms, Work
from garage_ai.ledger import Receipt
from garage_ai.serving import ServingError
from garage_ai.storage import MemberId

_log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 0.5
"""How often items are looked for while some wait and none could be begun."""

IDLE_SECONDS: Final = 2.0
"""How often they are where none waits; what this gateway itself lets begin is told at once."""

AWAY_SECONDS: Final = 5.0
"""A database that was silent for less was not away; nor for half a lease, in which all renew."""

MOST_PAUSED: Final = 5000
"""Most keys and batches that the database is told not to look at."""

RECORD_SECONDS: Final = 600.0
"""Longest wait for the count of an answer: of large requests one is counted after another."""

ITEM_SECONDS: Final = 6 * 3600.0
"""Longest an item may run: on a network busy with chat it is moved again and again."""

WAIT_SECONDS: Final = 5.0
"""How long an item stays behind the others of its batch when nobody could be asked."""

CLOSE_SECONDS: Final = 60.0


class Engines(Capacity, Protocol):
    """What the network could do at once, and what is made for batches alone."""

    def want(self, queue: Queue, *, hungry: bool) -> None:
        """Have engines made for a batch alone; `hungry` where it has items to begin."""


class Weights(Protocol):
    """Who goes first where some wait."""

    def weight(self, payer: MemberId) -> float:
        """Weigh a member beside others."""
        ...


class Worker:
    """One gateway's worker. All methods belong to the event loop."""

    def __init__(
        self,
        items: Items,
        serving: Serving,
        bills: ItemBills,
        *,
        store: FileStore,
        read: ReadRequest,
        desk: Desk,
        capacity: Engines,
        weights: Weights,
    ) -> None:
        self.failures = 0
        self._items = items
        self._asking = Asking(serving, store=store, read=read, desk=desk)
        self._bills = bills
        self._capacity = capacity
        self._weights = weights
        self._rooms = Rooms(capacity)
        self._pauses = Pauses()
        self._returning: dict[Item, datetime | None] = {}  # until when they wait
        self._running: dict[asyncio.Task[None], Job] = {}
        self._wanted = asyncio.Event()
        self._told = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._ender = Ender(items)
        # Of a clock that goes on while this machine sleeps, as that of the leases does.
        self._heard_at = time.time()
        self._judges_from = 0.0

    def start(self) -> Self:
        """Begin to work on the running loop; `close` ends that."""
        self._ender = Ender.start(self._items)
        self._tasks = [
            asyncio.create_task(self._feed(), name="batch-feed"),
            asyncio.create_task(self._keep(), name="batch-leases"),
        ]
        return self

    def look(self) -> None:
        """Look for items at once: some may begin that could not before."""
        self._told.set()

    @property
    def ends(self) -> Ender:
        """What writes the ends of items."""
        return self._ender

    @property
    def running(self) -> int:
        """Items that run here."""
        return len(self._running)

    async def close(self) -> None:
        """Stop, and give back what was not ended."""
        left = {**dict.fromkeys(self._held()), **self._returning}
        self._returning.clear()
        for work in self._rooms.works:
            work.ready.clear()
        tasks = [*self._tasks, *self._running]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
        await self._ender.close()
        await self._tried("batch_items_not_put_back", self._items.put_back(left))

    def _held(self) -> list[Item]:
        """Give the items that run here, those that are next, and those that go back."""
        jobs = (*self._running.values(), *self._rooms.ready)
        return [*(job.item for job in jobs), *self._returning]

    async def _feed(self) -> None:
        while True:
            found = await self._tried("batch_items_not_claimed", self._fill())
            if found:
                await _wait(self._wanted, LOOK_SECONDS)
                continue
            # Several gateways look; they need not meet.
            seconds = LOOK_SECONDS if self._rooms else IDLE_SECONDS
            await _wait(self._told, seconds * random.uniform(0.8, 1.2))  # noqa: S311
            self._told.clear()

    async def _fill(self) -> int:
        """Claim what there is room for, and begin; give how many were claimed."""
        self._wanted.clear()
        await self._sort_out()
        now = time.monotonic()
        paused = self._pauses.paused(now)[:MOST_PAUSED]
        waiting = await self._items.waiting(paused)
        self._heard()
        queues = {queue.batch: queue for queue in waiting if not self._is_paused(queue, now)}
        self._rooms.look(queues, now)
        self._want_engines(queues)
        wanted = self._rooms.share(queues.values(), self._weigh, now)
        claimed = await self._items.claim(wanted) if wanted else []
        for item in claimed:
            self._rooms.put(Job(item, queues[item.batch]))
        for room in self._rooms:
            self._begin(room, *room.works.values())
        return len(claimed)

    def _weigh(self, queue: Queue) -> float:
        return self._weights.weight(queue.member)

    async def _sort_out(self) -> None:
        """Give back what was claimed and cannot be begun here.

        Its batch is over or pauses, or nobody serves its model now.
        """
        ready = {job.queue.batch for job in self._rooms.ready}
        going_on, now = await self._items.going_on(ready), time.monotonic()

        def is_on(job: Job) -> bool:
            return job.queue.batch in going_on and not self._is_paused(job.queue, now)

        for work in self._rooms.works:
            gone = work.sift(is_on if work.slots else lambda _: False)
            self._returning |= dict.fromkeys(job.item for job in gone)
        back = dict(self._returning)
        await self._items.put_back(back)
        for item in back:
            del self._returning[item]

    def _is_paused(self, queue: Queue, now: float) -> bool:
        return self._pauses.is_paused(queue.key, now) or self._pauses.is_paused(queue.batch, now)

    def _want_engines(self, queues: Mapping[BatchId, Queue]) -> None:
        """Want engines for batches that are to have their own, as long as they have work here."""
        here = {job.queue.batch: job.queue for job in (*self._rooms.ready, *self._running.values())}
        for batch, queue in {**here, **queues}.items():
            if queue.job:
                self._capacity.want(queue, hungry=batch in queues)

    def _begin(self, room: Room, *works: Work) -> None:
        """Begin with those that are next, as far as there is room; `works` have just changed."""
        now, changed = time.monotonic(), set(works)
        while (work := room.next(now)) is not None:
            changed.add(work)
            if self._is_paused(work.ready[0][1].queue, now):
                self._returning[work.ready.popleft()[1].item] = None
                continue
            job = work.begin()
            task = asyncio.create_task(self._run(job, work), name="batch-item")
            self._running[task] = job
            task.add_done_callback(partial(self._ended, room, work))
        if any(work.wants_more for work in changed):
            self._wanted.set()

    def _ended(self, room: Room, work: Work, task: "asyncio.Task[None]") -> None:
        work.ended(self._running.pop(task))
        self._begin(room, work)

    async def _run(self, job: Job, work: Work) -> None:
        """Do one item, whatever becomes of it."""
        item = job.item
        with self._bills.begin(item, job.queue.created_at) as bill, ExitStack() as kept:
            try:
                async with asyncio.timeout(ITEM_SECONDS):
                    body = await self._asking.ask(job, kept)
                result = line_of(item, 200, body)
            except Exception as error:
                kept.close()
                await self._failed(job, work, bill, error)
                return
            self._served(job, work)
            ended = Ended(item, True, result, await self._receipt(bill))
            self._ender.put(ended, kept.pop_all().close)

    async def _failed(self, job: Job, work: Work, bill: ItemBill, error: Exception) -> None:
        """Let an item wait, be tried again, or end."""
        item, attempts = job.item, job.item.attempts + 1
        failure = Failure.of(error)
        if failure.code == "internal_error":
            _log.error("batch_item_failed", request=item.request_id, error=type(error).__name__)
        if failure.code in ENGINES_WORDS:
            work.window.heard()
        waits_until = None if failure.is_clients else self._pause(job, work, failure)
        match failure.fate(attempts):
            case "wait":
                self._returning[item] = waits_until
            case "again":
                later = _later(pause_after(attempts))
                await self._tried("batch_item_not_put_back", self._items.again(item, later))
            case "over":
                was_asked = isinstance(error, ServingError | LimitReached)
                receipt = await self._receipt(bill) if was_asked else None
                told = line_of(item, failure.status, failure.envelope(attempts))
                self._ender.put(Ended(item, is_answer=False, result=told, receipt=receipt))

    async def _receipt(self, bill: ItemBill) -> Receipt | None:
        """Wait for what an item used and cost, which comes once its tokens are counted."""
        try:
            async with asyncio.timeout(RECORD_SECONDS):
                return await bill.receipt
        except TimeoutError:
            _log.error("batch_item_not_counted")
            return None

    def _served(self, job: Job, work: Work) -> None:
        work.window.served()
        self._pauses.served(job.queue.key)
        self._pauses.served(job.queue.batch)

    def _pause(self, job: Job, work: Work, failure: Failure) -> datetime | None:
        """Ask for less where the line's model fails or has no room, else nothing of key or batch.

        Gives when the item may be tried again, where others of its batch may go before it.
        """
        now, chance = time.monotonic(), random.random()  # noqa: S311 - jitter
        match failure.cause:
            case None if not work.is_alone(job.queue.batch):  # whose requests may well be answered
                self._pauses.refused(job.queue.batch, now, chance)
            case None:
                work.window.failed(now, chance)
            case "model":
                work.window.refused(now, chance)
            case "key":
                self._pauses.refused(job.queue.key, now, chance, failure.retry_after)
            case _:
                self._pauses.refused(job.queue.batch, now, chance)
                return _later(WAIT_SECONDS)
        return None

    async def _keep(self) -> None:
        """Go on with the own leases, and take back those of workers that are gone."""
        while True:
            await asyncio.sleep(self._items.seconds / 3 * random.uniform(0.7, 1.0))  # noqa: S311
            await self._tried("batch_leases_not_renewed", self._renew())
            if self._judges:
                await self._tried("batch_leases_not_taken_back", self._sweep())
            self.look()

    def _heard(self) -> None:
        """Note that the database answers, and whether it is back after it was away."""
        now, seconds = time.time(), self._items.seconds
        if now - self._heard_at >= max(AWAY_SECONDS, seconds / 2):
            self._judges_from = time.monotonic() + seconds
        self._heard_at = now

    @property
    def _judges(self) -> bool:
        """Whether a lease that ran out tells of a worker that is gone.

        While the database was away nobody could renew, and all have the time of a lease for it.
        """
        is_away = time.time() - self._heard_at >= max(AWAY_SECONDS, self._items.seconds / 2)
        return not is_away and time.monotonic() >= self._judges_from

    async def _renew(self) -> None:
        """Go on with the own leases; stop what would be refused, and let others have the slots."""
        lost = set(await self._items.renew([*self._held(), *self._ender.items]))
        for work in self._rooms.works:
            work.sift(lambda job: job.item not in lost)
        for task, job in self._running.items():
            if job.item in lost:
                task.cancel()

    async def _sweep(self) -> None:
        for lost in await self._items.sweep():
            await self._items.give_up(lost, given_up(lost))

    async def _tried(self, failure: str, work: Awaitable[int | None]) -> int:
        """Do it, or count that it failed: what died of it would leave all items as they are."""
        try:
            return await work or 0
        except Exception as error:
            self.failures += 1
            _log.warning(failure, code=getattr(error, "code", type(error).__name__))
            return 0


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _later(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds * random.uniform(0.5, 1.5))  # noqa: S311


__all__ = ["Engines", "Weights", "Worker"]
