"""The items of batches in SQL: claimed under a lease, and ended once.

    queued ──► leased ──► done | failed      with its line, its usage and its cost: all or nothing
       ▲          │
       └──────────┘   no room, an attempt that failed, or a lease that ran out

Each claim has an epoch of its own. Whoever holds an older one has lost the item, and what it brings
is refused.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.batch.holding import now_of
from garage_ai.batch.models import DEDICATED, BatchId, Endpoint
from garage_ai.batch.worker import statements
from garage_ai.batch.worker.statements import MOST_SEEN
from garage_ai.ledger import Ledger, NanoGai, Receipt
from garage_ai.storage import Change, KeyId, MemberId, Storage, UsageRecord

LEASE_SECONDS: Final = 30.0
"""How long an item is its worker's without a renewal; renewed three times as often."""

GRACE_SECONDS: Final = 5.0
"""How much later it goes back: its renewal may be on the way."""

LOST: Final = 20
"""An item that so many workers began and never ended is given up."""


class Line(NamedTuple):
    """What items are put to, and by whom: all items of a line may be served by the same nodes.

    `model` is its served name, in the engines of a `job` where that has any. `regions` None:
    anywhere. `asker` stands for all who are served alike, empty where everybody is.
    """

    model: str
    job: str = ""
    regions: frozenset[str] | None = None
    asker: str = ""


@dataclass(frozen=True, slots=True)
class Queue:
    """A batch that has items to begin; at most MOST_SEEN of them are counted.

    `place` is where the file store has its input file.
    """

    batch: BatchId
    member: MemberId
    key: KeyId
    model: str
    endpoint: Endpoint
    created_at: datetime
    deadline: datetime
    place: str
    items: int
    isolation: str | None = None

    @property
    def job(self) -> str:
        """What its requests bear where engines are made for them alone; empty where they share."""
        return self.batch if self.isolation == DEDICATED else ""


@dataclass(frozen=True, slots=True)
class Item:
    """An item under this worker's lease; `offset` and `length` are bytes of the input file.

    `hold` is what it may cost, in nGAI; `attempts` failed before.
    """

    batch: BatchId
    line: int
    custom_id: str
    offset: int
    length: int
    hold: NanoGai
    attempts: int
    epoch: int

    @property
    def request_id(self) -> str:
        """What this attempt is called in usage and in the books."""
        return f"{self.batch}.{self.line}.{self.epoch}"


@dataclass(frozen=True, slots=True)
class Ended:
    """How an item ended: its line, and what it used and cost where it was asked."""

    item: Item
    is_answer: bool
    result: bytes
    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """An item whose lease ran out, so many times by now."""

    batch: BatchId
    line: int
    custom_id: str
    epoch: int
    losses: int


class Items:
    """The items as one worker, named `worker`, sees them."""

    def __init__(
        self, storage: Storage, ledger: Ledger, worker: str, *, seconds: float = LEASE_SECONDS
    ) -> None:
        self.worker = worker
        self.seconds = seconds
        self._storage = storage
        self._ledger = ledger
        self._ended = storage.row_change(
            statements.ENDED, ("state", "result", "batch", "row", "held")
        )
        self._counted = storage.row_change(
            statements.COUNTED, ("batch", "done", "failed", "read", "wrote")
        )

    async def waiting(self, paused: Collection[str] = ()) -> list[Queue]:
        """Give the batches that have items to begin, without `paused` batches and keys.

        Fair between members where there are too many. Raises: StorageError.
        """
        async with self._storage.read() as connection:
            rows = await connection.execute(statements.waiting(_now(), paused))
            return [Queue(*row) for row in rows]

    async def claim(self, wanted: Mapping[str, int]) -> list[Item]:
        """Lease the next items of batches, so many of each at most. Raises: StorageError."""
        async with self._storage.write() as connection:
            until = await self._until(connection)
            return [
                item
                for batch in sorted(wanted)
                for item in await self._claim(connection, batch, wanted[batch], until)
            ]

    async def going_on(self, among: Collection[BatchId]) -> set[BatchId]:
        """Tell which batches are neither cancelled nor over. Raises: StorageError."""
        if not among:
            return set()
        async with self._storage.read() as connection:
            rows = await connection.scalars(statements.going_on(among, _now()))
            return {BatchId(each) for each in rows}

    async def renew(self, items: Iterable[Item]) -> list[Item]:
        """Go on with the leases of these items; others run out.

        Gives those whose results would be refused: others have them, or their batch is over.
        Raises: StorageError.
        """
        ordered = sorted(items, key=_key)
        if not ordered:
            return []
        async with self._storage.write() as connection:
            until = await self._until(connection)
            rows = [
                {"batch": item.batch, "row": item.line, "held": item.epoch, "until": until}
                for item in ordered
            ]
            await connection.execute(statements.RENEWED, rows)
            kept = {tuple(row) for row in await connection.execute(statements.kept(self.worker))}
        return [item for item in ordered if (item.batch, item.line, item.epoch) not in kept]

    async def sweep(self, most: int = MOST_SEEN) -> list[Lost]:
        """Take back items whose leases ran out; give those that are given up, still leased.

        Raises: StorageError.
        """
        async with self._storage.write() as connection:
            before = await now_of(connection) - timedelta(seconds=self._grace)
            over = statements.overdue(before, most)
            found = [Lost(*row) for row in await connection.execute(over)]
            back = [{"batch": e.batch, "row": e.line} for e in found if e.losses < LOST]
            if back:
                await connection.execute(statements.BACK, back)
        return [each for each in found if each.losses >= LOST]

    async def give_up(self, lost: Lost, result: bytes) -> bool:
        """End an item that no worker ever ended; it costs nothing. Raises: StorageError."""
        row = ("failed", result, lost.batch, lost.line, lost.epoch)
        counted = (lost.batch, 0, 1, 0, 0)
        changes = [self._ended.change([row]), self._counted.change([counted])]
        return await self._storage.write_exactly(changes)

    async def put_back(self, back: Mapping[Item, datetime | None]) -> None:
        """Give items back that were not tried, some until a moment. Raises: StorageError."""
        await self._return([(item, item.attempts, later) for item, later in back.items()])

    async def again(self, item: Item, not_before: datetime) -> None:
        """Give an item back whose attempt failed. Raises: StorageError."""
        await self._return([(item, item.attempts + 1, not_before)])

    async def end(self, ended: Sequence[Ended]) -> bool:
        """End items with their usage and what they cost, all or none in one transaction.

        None where one is not this worker's any more, or its batch's promise not open for it.
        Raises: LedgerError, StorageError.
        """
        return await self._storage.write_exactly(self._changes(ended))

    async def is_mine(self, item: Item) -> bool:
        """Tell whether this worker's result of an item would be taken. Raises: StorageError."""
        held = statements.held(item.batch, item.line, item.epoch)
        async with self._storage.read() as connection:
            return (await connection.execute(held)).one_or_none() is not None

    @property
    def _grace(self) -> float:
        return min(GRACE_SECONDS, self.seconds / 2)

    async def _until(self, connection: AsyncConnection) -> datetime:
        """Tell when a lease ends that is given now, by the clock that all workers share."""
        return await now_of(connection) + timedelta(seconds=self.seconds)

    async def _claim(
        self, connection: AsyncConnection, batch: str, most: int, until: datetime
    ) -> list[Item]:
        rows = (await connection.execute(statements.next_items(batch, most, _now()))).all()
        if rows:
            values = {"worker": self.worker, "until": until}
            claimed = [{"batch": batch, "row": row.line, **values} for row in rows]
            await connection.execute(statements.CLAIMED, claimed)
        return [_item(row) for row in rows]

    async def _return(self, back: Sequence[tuple[Item, int, datetime | None]]) -> None:
        rows = [
            {
                "batch": item.batch,
                "row": item.line,
                "held": item.epoch,
                "tried": attempts,
                "later": later,
            }
            for item, attempts, later in sorted(back, key=lambda each: _key(each[0]))
        ]
        if rows:
            async with self._storage.write() as connection:
                await connection.execute(statements.RETURNED, rows)

    def _changes(self, ended: Sequence[Ended]) -> list[Change]:
        """Say what all of it is, in the order in which every worker locks rows."""
        ordered = sorted(ended, key=lambda each: _key(each.item))
        return [
            self._ended.change([_ended_row(each) for each in ordered]),
            self._counted.change(_counts(ordered)),
            *self._ledger.changes([each.receipt for each in ordered if each.receipt is not None]),
        ]


def _key(item: Item) -> tuple[str, int]:
    return item.batch, item.line


def _ended_row(ended: Ended) -> tuple[object, ...]:
    item = ended.item
    state = "done" if ended.is_answer else "failed"
    return state, ended.result, item.batch, item.line, item.epoch


def _counts(ended: Sequence[Ended]) -> list[tuple[object, ...]]:
    """Add up what each batch gains: answers, errors, tokens read and written."""
    sums: dict[str, list[int]] = {}
    for each in ended:
        record = None if each.receipt is None else each.receipt.record
        added = (each.is_answer, not each.is_answer, *_tokens(record))
        before = sums.setdefault(each.item.batch, [0, 0, 0, 0])
        sums[each.item.batch] = [one + int(two) for one, two in zip(before, added, strict=True)]
    return [(batch, *sums[batch]) for batch in sorted(sums)]


def _tokens(record: UsageRecord | None) -> tuple[int, int]:
    """Tell the tokens of prompt and answer as they are billed, else as the engine counts."""
    if record is None or record.outcome != "ok":
        return 0, 0
    if record.counted_prompt_tokens is not None:
        return record.counted_prompt_tokens, record.counted_completion_tokens or 0
    return record.prompt_tokens or 0, record.completion_tokens or 0


def _item(row: Row[*tuple[object, ...]]) -> Item:
    fields = row._asdict()
    return Item(batch=fields.pop("batch_id"), epoch=fields.pop("epoch") + 1, **fields)


def _now() -> datetime:
    return datetime.now(UTC)


__all__ = [
    "GRACE_SECONDS",
    "LEASE_SECONDS",
    "LOST",
    "Ended",
    "Item",
    "Items",
    "Line",
    "Lost",
    "Queue",
]
