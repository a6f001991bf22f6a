"""The one writer of usage: many records in each transaction, in order, off the hot path."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Self

import msgspec
import structlog
from sqlalchemy import Column, Update, bindparam, or_, update

from garage_ai.storage.changes import Change
from garage_ai.storage.database import Storage
from garage_ai.storage.errors import ConstraintViolated, StorageError, ValueRefused
from garage_ai.storage.ids import KeyId
from garage_ai.storage.tables import keys, nodes, usage
from garage_ai.storage.usage import UsageRecord

_log = structlog.get_logger(__name__)

QUEUE: Final = 100_000
"""Records that may wait: minutes of full load while a disk is full, about 60 MB."""

LINGER_SECONDS: Final = 0.025
"""How long the first record waits for company; half of the 50 ms, the rest is for the commit.

A commit costs about half a millisecond of a core however many records share it, so waiting is what
saves.
"""

GROUP: Final = 43
"""Most records in one transaction, which is one statement: SQLite before 3.32 binds 999 values."""

TOUCH_SECONDS: Final = 1.0
"""How often last-used and last-seen moments are written."""

CLOSE_SECONDS: Final = 5.0

_encoder: Final = msgspec.json.Encoder()

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0

DropReason = Literal["queue_full", "refused", "closed"]


@dataclass(slots=True)
class UsageCounts:
    """What became of the records so far; `lag` is the wait of the last group in seconds."""

    written: int = 0
    repeated: int = 0
    dropped: int = 0
    retries: int = 0
    lag: float = 0.0


class UsageWriter:
    """Write usage records in the order in which they came, committed within 50 ms.

    While the database cannot be written the records wait, and the write is tried again with a
    growing, jittered pause; the limit of that is the queue. What had to be dropped is counted,
    logged and told to `on_drop`. All methods belong to the event loop's thread.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        queue: int = QUEUE,
        on_drop: Callable[[int, DropReason], None] | None = None,
    ) -> None:
        self.counts = UsageCounts()
        self._storage = storage
        self._limit = queue
        self._on_drop = on_drop
        self._queue: deque[UsageRecord] = deque()
        self._oldest = 0.0
        self._key_moments: dict[str, datetime] = {}
        self._node_moments: dict[str, datetime] = {}
        self._insert = storage.new_rows(usage, _COLUMNS)
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def start(
        cls,
        storage: Storage,
        *,
        queue: int = QUEUE,
        on_drop: Callable[[int, DropReason], None] | None = None,
    ) -> Self:
        """Start a writer on the running loop; `close` ends it."""
        writer = cls(storage, queue=queue, on_drop=on_drop)
        writer._task = asyncio.create_task(writer._run(), name="usage-writer")
        return writer

    @property
    def waiting(self) -> int:
        """Records that are not committed yet."""
        return len(self._queue)

    def put(self, record: UsageRecord) -> None:
        """Take a record to write; never blocks. A full queue drops it and counts that."""
        if self._closing.is_set():
            self._drop(1, "closed")
        elif len(self._queue) >= self._limit:
            self._drop(1, "queue_full")
        else:
            if not self._queue:
                self._oldest = asyncio.get_running_loop().time()
            self._queue.append(record)
            self._wake.set()

    def touch_key(self, key: KeyId, at: datetime) -> None:
        """Note when a key was last used; written about once a second."""
        if len(self._key_moments) < self._limit:
            self._key_moments[key] = at

    def touch_node(self, node: str, at: datetime) -> None:
        """Note when a node was last seen; written about once a second."""
        if len(self._node_moments) < self._limit:
            self._node_moments[node] = at

    async def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Write what waits and stop; what is left after `timeout` seconds is counted as dropped."""
        self._closing.set()
        self._wake.set()
        if self._task is not None:
            _, unfinished = await asyncio.wait({self._task}, timeout=timeout)
            if unfinished:
                self._task.cancel()
                await asyncio.wait({self._task}, timeout=timeout)
        if self._queue:
            self._drop(len(self._queue), "closed")
            self._queue.clear()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        touch_at = loop.time() + TOUCH_SECONDS
        while not self._closing.is_set() or self._queue:
            await self._gather(touch_at)
            while self._queue and (self._closing.is_set() or self._due(loop.time())):
                await self._write_group()
            if loop.time() >= touch_at:
                await self._write_moments()
                touch_at = loop.time() + TOUCH_SECONDS
        await self._write_moments()

    def _due(self, now: float) -> bool:
        return len(self._queue) >= GROUP or now >= self._oldest + LINGER_SECONDS

    async def _gather(self, until: float) -> None:
        """Wait for the first record and then for its company, or for the time of the moments."""
        if not self._queue:
            try:
                async with asyncio.timeout_at(until):
                    await self._wake.wait()
            except TimeoutError:
                return
        self._wake.clear()
        wait = self._oldest + LINGER_SECONDS - asyncio.get_running_loop().time()
        if wait > 0 and not self._closing.is_set():
            await asyncio.sleep(wait)

    async def _write_group(self) -> None:
        # A record leaves the queue only after its commit, so that a cancelled write loses none.
        loop = asyncio.get_running_loop()
        begun = loop.time()
        group = [self._queue[i] for i in range(min(len(self._queue), GROUP))]
        await self._write(group)
        self.counts.lag = loop.time() - self._oldest
        for _ in group:
            self._queue.popleft()
        if len(group) < GROUP:
            self._oldest = begun  # whatever waits now came after that

    async def _write(self, group: Sequence[UsageRecord]) -> None:
        """Commit a group, trying again while the database is away; halve it around a bad record."""
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._commit(group)
            except (ConstraintViolated, ValueRefused) as error:
                await self._part(group, error.code)
            except StorageError as error:
                self.counts.retries += 1
                _log.warning("usage_write_delayed", code=error.code, waiting=len(self._queue))
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            except Exception as error:  # the writer outlives whatever one record does to it
                await self._part(group, type(error).__name__)
            return

    async def _part(self, group: Sequence[UsageRecord], code: str) -> None:
        if len(group) == 1:
            _log.error("usage_refused", request=group[0].request_id, code=code)
            self._drop(1, "refused")
            return
        half = len(group) // 2
        await self._write(group[:half])
        await self._write(group[half:])

    async def _commit(self, group: Sequence[UsageRecord]) -> None:
        written = await self._storage.insert_rows(self._insert, [_row(record) for record in group])
        self.counts.written += written
        self.counts.repeated += len(group) - written

    async def _write_moments(self) -> None:
        """Write the last moments of keys and nodes; kept for the next time if that fails."""
        key_moments, self._key_moments = self._key_moments, {}
        node_moments, self._node_moments = self._node_moments, {}
        try:
            if key_moments or node_moments:
                async with self._storage.write() as connection:
                    for statement, moments in (
                        (_TOUCH_KEY, key_moments),
                        (_TOUCH_NODE, node_moments),
                    ):
                        if moments:
                            # In one order, so that two gateways do not wait for each other.
                            rows = [{"row": row, "moment": moments[row]} for row in sorted(moments)]
                            await connection.execute(statement, rows)
        except StorageError as error:
            _log.warning("moments_not_written", code=error.code)
            self._key_moments = key_moments | self._key_moments
            self._node_moments = node_moments | self._node_moments

    def _drop(self, count: int, reason: DropReason) -> None:
        # Logged at the first and then at every doubling: a full disk must not fill itself.
        before, self.counts.dropped = self.counts.dropped, self.counts.dropped + count
        if before.bit_length() != self.counts.dropped.bit_length():
            _log.error("usage_dropped", dropped=self.counts.dropped, reason=reason)
        if self._on_drop is not None:
            self._on_drop(count, reason)


class UsageRows:
    """Records as a part of a transaction that writes what was used for, too."""

    def __init__(self, storage: Storage) -> None:
        self._insert = storage.new_rows(usage, _COLUMNS)

    def change(self, records: Sequence[UsageRecord]) -> Change:
        """Bind records for `Storage.write_exactly`. Raises: ValueRefused."""
        return self._insert.change([_row(record) for record in records])


def _touch(id_column: Column[str], moment: Column[datetime]) -> Update:
    return (
        update(id_column.table)
        .where(
            id_column == bindparam("row"),
            or_(moment.is_(None), moment < bindparam("moment", type_=moment.type)),
        )
        .values({moment: bindparam("moment", type_=moment.type)})
    )


_TOUCH_KEY: Final = _touch(keys.c.id, keys.c.last_used_at)
_TOUCH_NODE: Final = _touch(nodes.c.id, nodes.c.last_seen_at)


_COLUMNS: Final = (
    "request_id",
    "at",
    "member_id",
    "key_id",
    "route",
    "model",
    "digest",
    "node_id",
    "outcome",
    "stream",
    "prompt_tokens",
    "completion_tokens",
    "content_events",
    "bytes_out",
    "ttft_s",
    "duration_s",
    "attempts",
    "parts",
    "charge",
    "caller_id",
    "counted_prompt_tokens",
    "counted_completion_tokens",
    "count_source",
)


def _row(record: UsageRecord) -> tuple[object, ...]:
    return (
        record.request_id,
        record.at,
        record.member,
        record.key_id,
        record.route,
        record.model[:255].replace("\0", "\ufffd"),  # PostgreSQL's text holds no NUL
        record.digest,
        record.node,
        record.outcome,
        record.stream,
        record.prompt_tokens,
        record.completion_tokens,
        record.content_events,
        record.bytes_out,
        record.ttft_s,
        record.duration_s,
        record.attempts,
        _encoder.encode(record.parts).decode() if record.parts else None,
        record.charge,
        record.caller_id,
        record.counted_prompt_tokens,
        record.counted_completion_tokens,
        record.count_source,
    )
