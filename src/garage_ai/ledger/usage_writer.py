"""The one writer of requests' ends: use and cost together, many in each transaction, in order."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, Self

import structlog

from garage_ai.ledger.books import Outcome, Receipt, Settlement
from garage_ai.storage import ConstraintViolated, StorageError, ValueRefused

_log = structlog.get_logger(__name__)

QUEUE: Final = 100_000
"""Receipts that may wait: a minute of full load while a disk is full, about 130 MB."""

LINGER_SECONDS: Final = 0.025
"""How long the first receipt waits for company; half of the 50 ms, the rest is for the commit.

A commit costs about half a millisecond of a core however many receipts share it, so waiting is
what saves.
"""

GROUP: Final = 200
"""Most receipts in one transaction: some milliseconds of the payers' locks."""

CLOSE_SECONDS: Final = 5.0

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0

DropReason = Literal["queue_full", "refused", "closed"]

End = Literal["entered", "repeated", "refused", "dropped"]
"""How a receipt ended; of one that was refused the record alone is kept, and says no charge."""


class Entering(Protocol):
    """Where receipts are committed."""

    async def enter(self, receipts: Sequence[Receipt]) -> list[Outcome]:
        """Enter them in one transaction, in order. Raises: StorageError."""
        ...


@dataclass(slots=True)
class UsageCounts:
    """What became of the receipts so far."""

    entered: int = 0
    repeated: int = 0
    refused: int = 0
    dropped: int = 0
    retries: int = 0


class UsageWriter:
    """Commit receipts in the order in which they came, within 50 ms.

    While the database cannot be written they wait, and the commit is tried again with a growing,
    jittered pause; the limit of that is the queue. What had to be dropped is counted, logged and
    told to `on_drop`; how each settlement ended is told to `on_end`, exactly once. All methods
    belong to the event loop's thread.
    """

    def __init__(
        self,
        ledger: Entering,
        *,
        queue: int = QUEUE,
        on_end: Callable[[Settlement, End], None] | None = None,
        on_drop: Callable[[int, DropReason], None] | None = None,
    ) -> None:
        self.counts = UsageCounts()
        self._ledger = ledger
        self._limit = queue
        self._on_end = on_end
        self._on_drop = on_drop
        self._queue: deque[Receipt] = deque()
        self._oldest = 0.0
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def start(
        cls,
        ledger: Entering,
        *,
        queue: int = QUEUE,
        on_end: Callable[[Settlement, End], None] | None = None,
        on_drop: Callable[[int, DropReason], None] | None = None,
    ) -> Self:
        """Start a writer on the running loop; `close` ends it."""
        writer = cls(ledger, queue=queue, on_end=on_end, on_drop=on_drop)
        writer._task = asyncio.create_task(writer._run(), name="usage-writer")
        return writer

    @property
    def waiting(self) -> int:
        """Receipts that are not committed yet."""
        return len(self._queue)

    def put(self, receipt: Receipt) -> None:
        """Take a receipt to commit; never blocks. A full queue drops it and counts that."""
        if self._closing.is_set():
            self._drop(receipt, "closed")
        elif len(self._queue) >= self._limit:
            self._drop(receipt, "queue_full")
        else:
            if not self._queue:
                self._oldest = asyncio.get_running_loop().time()
                self._wake.set()
            self._queue.append(receipt)

    async def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Commit what waits and stop; what is left after `timeout` seconds is dropped."""
        self._closing.set()
        self._wake.set()
        if self._task is not None:
            _, unfinished = await asyncio.wait({self._task}, timeout=timeout)
            if unfinished:
                self._task.cancel()
                await asyncio.wait({self._task}, timeout=timeout)
        while self._queue:
            self._drop(self._queue.popleft(), "closed")

    async def _run(self) -> None:
        while not self._closing.is_set() or self._queue:
            await self._gather()
            while self._queue and (self._closing.is_set() or self._due()):
                await self._write_group()

    def _due(self) -> bool:
        now = asyncio.get_running_loop().time()
        return len(self._queue) >= GROUP or now >= self._oldest + LINGER_SECONDS

    async def _gather(self) -> None:
        """Wait for the first receipt and then for its company."""
        if not self._queue:
            await self._wake.wait()
        self._wake.clear()
        wait = self._oldest + LINGER_SECONDS - asyncio.get_running_loop().time()
        if self._queue and wait > 0 and not self._closing.is_set():
            await asyncio.sleep(wait)

    async def _write_group(self) -> None:
        # A receipt leaves the queue only after its commit, so that a cancelled write loses none.
        begun = asyncio.get_running_loop().time()
        group = [self._queue[i] for i in range(min(len(self._queue), GROUP))]
        ends = await self._write(group)
        for receipt, end in zip(group, ends, strict=True):
            self._queue.popleft()
            if end == "dropped":
                self._drop(receipt, "refused")
            else:
                self._end(receipt, end)
        if len(group) < GROUP:
            self._oldest = begun  # whatever waits now came after that

    async def _write(self, group: Sequence[Receipt]) -> list[End]:
        """Commit a group, trying again while the database is away; halve it around a bad one."""
        pause = _FIRST_PAUSE
        while True:
            try:
                return [*await self._ledger.enter(group)]
            except (ConstraintViolated, ValueRefused) as error:
                return await self._part(group, error.code)
            except StorageError as error:
                self.counts.retries += 1
                _log.warning("usage_write_delayed", code=error.code, waiting=len(self._queue))
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                pause = min(pause * 2, _LONGEST_PAUSE)
            except Exception as error:  # the writer outlives whatever one receipt does to it
                return await self._part(group, type(error).__name__)

    async def _part(self, group: Sequence[Receipt], code: str) -> list[End]:
        if len(group) > 1:
            half = len(group) // 2
            return [*await self._write(group[:half]), *await self._write(group[half:])]
        [receipt] = group
        _log.error("usage_refused", request=receipt.record.request_id, code=code)
        if receipt.settlement is None:
            return ["dropped"]
        # It may be the books that refuse; then what was used is still worth knowing.
        [end] = await self._write([receipt.unbilled()])
        return ["dropped" if end == "dropped" else "refused"]

    def _end(self, receipt: Receipt, end: End) -> None:
        setattr(self.counts, end, getattr(self.counts, end) + 1)
        if receipt.settlement is None or self._on_end is None:
            return
        try:
            self._on_end(receipt.settlement, end)
        except Exception:  # the writer outlives whoever hears of it
            _log.exception("end_not_taken", lease=receipt.settlement.lease)

    def _drop(self, receipt: Receipt, reason: DropReason) -> None:
        self._end(receipt, "dropped")
        # Logged at every doubling: a full disk must not fill itself.
        if self.counts.dropped.bit_count() == 1:
            _log.error("usage_dropped", dropped=self.counts.dropped, reason=reason)
        if self._on_drop is not None:
            self._on_drop(1, reason)


__all__ = ["GROUP", "QUEUE", "DropReason", "End", "Entering", "UsageCounts", "UsageWriter"]
