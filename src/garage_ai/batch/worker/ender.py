"""The one writer of items' ends: many in each transaction, and none told before it is committed."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Self

import structlog

from garage_ai.batch.worker.items import Ended, Item, Items
from garage_ai.ledger import LedgerError
from garage_ai.storage import ConstraintViolated, StorageError, ValueRefused

_log = structlog.get_logger(__name__)

LINGER_SECONDS: Final = 0.02
"""How long the first end waits for company."""

GROUP: Final = 40
"""Most ends in one transaction: their usage is one statement on SQLite."""

GROUP_BYTES: Final = 8 * 1024 * 1024

CLOSE_SECONDS: Final = 5.0

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0


@dataclass(slots=True)
class EndCounts:
    """What became of the ends so far; `unbilled` is in nGAI."""

    written: int = 0
    late: int = 0
    retries: int = 0
    unbilled: int = 0


class Ender:
    """Write ends in the order of their coming, again and again while the database is away.

    Bounded by the items that a worker may have. All methods belong to the event loop.
    """

    def __init__(self, items: Items) -> None:
        self.counts = EndCounts()
        self._items = items
        self._queue: deque[Ended] = deque()
        self._free: deque[Callable[[], None]] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def start(cls, items: Items) -> Self:
        """Start on the running loop; `close` ends it."""
        ender = cls(items)
        ender._task = asyncio.create_task(ender._run(), name="batch-ender")
        return ender

    @property
    def waiting(self) -> int:
        """Ends that are not committed yet."""
        return len(self._queue)

    @property
    def items(self) -> list[Item]:
        """The items of these ends, which are still leased."""
        return [ended.item for ended in self._queue]

    def put(self, ended: Ended, free: Callable[[], None] = lambda: None) -> None:
        """Take the end of an item, and `free` what it holds once it is committed; never waits."""
        self._queue.append(ended)
        self._free.append(free)
        self._wake.set()

    async def close(self) -> None:
        """Write what waits, within CLOSE_SECONDS; what is not written is done again by others."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            _, unfinished = await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
            if unfinished:
                self._task.cancel()
                await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)

    async def _run(self) -> None:
        while not self._closing or self._queue:
            await self._wake.wait()
            self._wake.clear()
            if not self._closing:
                await asyncio.sleep(LINGER_SECONDS)
            while self._queue:
                group = self._group()
                await self._write(group)
                for _ in group:
                    self._queue.popleft()
                    self._free.popleft()()

    def _group(self) -> list[Ended]:
        group: list[Ended] = []
        size = 0
        for ended in self._queue:
            size += len(ended.result)
            if group and (len(group) == GROUP or size > GROUP_BYTES):
                break
            group.append(ended)
        return group

    async def _write(self, group: Sequence[Ended]) -> None:
        """Commit a group; halve it around one that cannot be."""
        if await self._insist(partial(self._end, group)):
            self.counts.written += len(group)
        elif len(group) > 1:
            half = len(group) // 2
            await self._write(group[:half])
            await self._write(group[half:])
        else:
            await self._refused(group[0])

    async def _insist(self, ask: Callable[[], Awaitable[bool]]) -> bool:
        """Ask the database again and again until it says yes or no."""
        pause = _FIRST_PAUSE
        while True:
            try:
                return await ask()
            except StorageError as error:
                self.counts.retries += 1
                _log.warning("batch_ends_delayed", code=error.code, waiting=len(self._queue))
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _end(self, group: Sequence[Ended]) -> bool:
        """Commit a group, or tell that it cannot be. Raises: StorageError."""
        try:
            return await self._items.end(group)
        except (ConstraintViolated, ValueRefused, LedgerError):
            return False
        except StorageError:
            raise
        except Exception as error:
            # Nobody foresaw it; a writer that died would leave all ends that are still to come.
            _log.error("batch_ends_failed", error=type(error).__name__)
            return False

    async def _refused(self, ended: Ended) -> None:
        """Let go of one that cannot be written as it is."""
        is_mine = partial(self._items.is_mine, ended.item)
        receipt = ended.receipt
        if receipt is None or receipt.settlement is None or not await self._insist(is_mine):
            # Somebody else has the item, or has ended it, or its batch is over.
            self.counts.late += 1
            _log.info("batch_result_refused", request=ended.item.request_id)
            return
        # The answer is good; it is the books that refuse, and a member is not to wait for those.
        amount = receipt.settlement.total
        self.counts.unbilled += amount
        _log.error("batch_item_not_billed", request=ended.item.request_id, amount=amount)
        await self._write([replace(ended, receipt=receipt.unbilled())])


__all__ = ["EndCounts", "Ender"]
