"""The one writer of settlements: many in each transaction, in order, off the hot path."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, Self

import structlog

from garage_ai.ledger.books import Outcome, Settlement
from garage_ai.storage import ConstraintViolated, StorageError, ValueRefused

_log = structlog.get_logger(__name__)

QUEUE: Final = 50_000
"""Settlements that may wait: minutes of full load while the database is away, about 60 MB."""

LINGER_SECONDS: Final = 0.025
"""How long the first one waits for company; half of the 50 ms, the rest is for the commit."""

GROUP: Final = 500
"""Most settlements in one transaction: some milliseconds of the payers' locks."""

CLOSE_SECONDS: Final = 5.0

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0

End = Literal["settled", "repeated", "refused", "dropped"]
"""How a settlement ended; the last two leave it unaccounted."""


class Settling(Protocol):
    """Where settlements are committed."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[Outcome]:
        """Enter them in one transaction, in order. Raises: StorageError."""
        ...


@dataclass(slots=True)
class SettlementCounts:
    """What became of the settlements so far; `lag` is the wait of the last group in seconds.

    `unaccounted` is in nGAI: what was used and cannot be billed.
    """

    settled: int = 0
    repeated: int = 0
    refused: int = 0
    dropped: int = 0
    retries: int = 0
    unaccounted: int = 0
    lag: float = 0.0


class SettlementWriter:
    """Commit settlements within 50 ms of their coming, in that order.

    While the database is away they wait, and the commit is tried again with a growing, jittered
    pause; the limit of that is the queue. `on_end` is told how each ended, exactly once. All
    methods belong to the event loop's thread.
    """

    def __init__(
        self, ledger: Settling, on_end: Callable[[Settlement, End], None], *, queue: int = QUEUE
    ) -> None:
        self.counts = SettlementCounts()
        self._ledger = ledger
        self._on_end = on_end
        self._limit = queue
        self._queue: deque[Settlement] = deque()
        self._oldest = 0.0
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def start(
        cls, ledger: Settling, on_end: Callable[[Settlement, End], None], *, queue: int = QUEUE
    ) -> Self:
        """Start a writer on the running loop; `close` ends it."""
        writer = cls(ledger, on_end, queue=queue)
        writer._task = asyncio.create_task(writer._run(), name="settlement-writer")
        return writer

    @property
    def waiting(self) -> int:
        """Settlements that are not committed yet."""
        return len(self._queue)

    def put(self, settlement: Settlement) -> None:
        """Take a settlement to commit; never blocks. A full queue drops it and counts that."""
        if self._closing.is_set() or len(self._queue) >= self._limit:
            self._end(settlement, "dropped")
            return
        if not self._queue:
            self._oldest = asyncio.get_running_loop().time()
        self._queue.append(settlement)
        self._wake.set()

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
            self._end(self._queue.popleft(), "dropped")

    async def _run(self) -> None:
        while not self._closing.is_set() or self._queue:
            await self._gather()
            while self._queue and (self._closing.is_set() or self._due()):
                await self._write_group()

    def _due(self) -> bool:
        now = asyncio.get_running_loop().time()
        return len(self._queue) >= GROUP or now >= self._oldest + LINGER_SECONDS

    async def _gather(self) -> None:
        """Wait for the first settlement and then for its company."""
        if not self._queue:
            await self._wake.wait()
        self._wake.clear()
        wait = self._oldest + LINGER_SECONDS - asyncio.get_running_loop().time()
        if self._queue and wait > 0 and not self._closing.is_set():
            await asyncio.sleep(wait)

    async def _write_group(self) -> None:
        # A settlement leaves the queue only after its commit, so that a cancelled write loses none.
        loop = asyncio.get_running_loop()
        begun = loop.time()
        group = [self._queue[i] for i in range(min(len(self._queue), GROUP))]
        ends = await self._write(group)
        self.counts.lag = loop.time() - self._oldest
        for settlement, end in zip(group, ends, strict=True):
            self._queue.popleft()
            self._end(settlement, end)
        if len(group) < GROUP:
            self._oldest = begun  # whatever waits now came after that

    async def _write(self, group: Sequence[Settlement]) -> list[End]:
        """Commit a group, trying again while the database is away; halve it around a bad one."""
        pause = _FIRST_PAUSE
        while True:
            try:
                return [*await self._ledger.settle(group)]
            except (ConstraintViolated, ValueRefused) as error:
                return await self._part(group, error.code)
            except StorageError as error:
                self.counts.retries += 1
                _log.warning("settlement_delayed", code=error.code, waiting=len(self._queue))
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                pause = min(pause * 2, _LONGEST_PAUSE)
            except Exception as error:  # the writer outlives whatever one settlement does to it
                return await self._part(group, type(error).__name__)

    async def _part(self, group: Sequence[Settlement], code: str) -> list[End]:
        if len(group) == 1:
            _log.error("settlement_dropped", lease=group[0].lease, code=code)
            return ["dropped"]
        half = len(group) // 2
        return [*await self._write(group[:half]), *await self._write(group[half:])]

    def _end(self, settlement: Settlement, end: End) -> None:
        setattr(self.counts, end, getattr(self.counts, end) + 1)
        if end in {"refused", "dropped"}:
            self.unaccounted(settlement.total)
        self._on_end(settlement, end)

    def unaccounted(self, amount: int) -> None:
        """Count what was used and cannot be billed."""
        # Logged at the first and then at every doubling: a full disk must not fill itself.
        before, self.counts.unaccounted = self.counts.unaccounted, self.counts.unaccounted + amount
        if before.bit_length() != self.counts.unaccounted.bit_length():
            _log.error("unaccounted", nano_gai=self.counts.unaccounted)


__all__ = ["CLOSE_SECONDS", "GROUP", "QUEUE", "End", "SettlementCounts", "SettlementWriter"]
