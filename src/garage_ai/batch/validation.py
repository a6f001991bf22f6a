"""Look at every line of a batch's file, and make an item of each that is a request.

Lines are read in threads and written in small groups, since chat goes on meanwhile. Items are only
made of a beginning of the file without a fault, so that whoever goes on after a crash begins behind
the last item and finds every fault that there is.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Final, Protocol

import msgspec
from sqlalchemy import func, select

from garage_ai.accounts import Key, KeyId, MemberId
from garage_ai.audit.models import Clock, utc_now
from garage_ai.batch.batches import under_way
from garage_ai.batch.errors import FileNotFound, LineRefused, ReservationRefused
from garage_ai.batch.files import find_file
from garage_ai.batch.holding import Hold
from garage_ai.batch.models import Batch, InputError, StoredFile
from garage_ai.batch.requests import Line, LineSplitter, Reading, ReadRequest, read_line
from garage_ai.batch.reserving import Reserve
from garage_ai.batch.store import FileStore
from garage_ai.storage import Storage
from garage_ai.storage.tables import batch_items

TOGETHER: Final = 250
"""Lines that are read and written at once: some milliseconds of either."""
MAX_ERRORS: Final = 100
"""Faults that a batch lists; nothing is read on behind them."""
_OVER: Final = frozenset({"revoked_api_key", "expired_api_key"})
"""Keys that no batch waits for."""
_AGAIN: Final = timedelta(seconds=10)
_TOO_LATE: Final = InputError(
    "batch_expired", "The completion window ended before the input file could be read."
)
_TWICE: Final = "This custom_id stands in a line above."
_OTHER_MODEL: Final = (
    "All lines of a batch name one model, the first's; others go in a file of their own."
)
_LOOK_SECONDS: Final = 120.0
"""Longest search for ids that are there twice, among a million."""

_COLUMNS: Final = (
    "batch_id",
    "line",
    "custom_id",
    "offset",
    "length",
    "hold",
    "state",
    "attempts",
    "epoch",
)


class Desk(Protocol):
    """What decides about a batch's requests as about all others."""

    def key(self, key: KeyId) -> Key:
        """Give the key that a batch came with, if it still works. Raises: LineRefused."""
        ...

    def check_model(self, key: Key, model: str) -> None:
        """Refuse a model that nobody knows, or that the key may not use. Raises: LineRefused."""


@dataclass(frozen=True, slots=True)
class _Item:
    """A line that is a request."""

    line: Line
    custom_id: str
    reading: Reading


class Validation:
    """Bring batches from `validating` to `in_progress`, or to `failed`."""

    def __init__(
        self,
        storage: Storage,
        store: FileStore,
        *,
        read: ReadRequest,
        desk: Desk,
        reserve: Reserve,
        longest_line: int,
        most_lines: int,
        clock: Clock = utc_now,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._store = store
        self._read = read
        self._desk = desk
        self._reserve = reserve
        self._longest = longest_line
        self._most_lines = most_lines
        self._looking = asyncio.Lock()
        self._insert = storage.new_rows(batch_items, _COLUMNS)

    async def run(self, hold: Hold) -> None:
        """Validate a batch to its end. Raises: HoldLost, FileStoreUnavailable, StorageError."""
        if self._clock() >= hold.batch.expires_at:
            await _fail(hold, [_TOO_LATE])
            return
        if not hold.batch.total and await self._is_full(hold.batch.member):
            await hold.let_go(again_in=_AGAIN)
            return
        key = await self._key(hold)
        if key is None:
            return
        try:
            errors = await self._read_all(hold, key, await self._file(hold.batch))
            if not errors:
                await self._reserve.take(hold.batch)
        except (LineRefused, FileNotFound, ReservationRefused) as refused:
            errors = [InputError(refused.code, str(refused), param=refused.param)]
        if errors:
            await _fail(hold, errors)
        else:
            await _begin(hold)

    async def _file(self, batch: Batch) -> StoredFile:
        """Give a batch's file, which is kept for it though its time be over since."""
        async with self._storage.read() as connection:
            return await find_file(connection, batch.member, batch.input_file_id, batch.created_at)

    async def _key(self, hold: Hold) -> Key | None:
        """Give the batch's key; None: its time is over, or the batch has to wait for it."""
        try:
            return self._desk.key(hold.batch.key_id)
        except LineRefused as refused:
            if refused.code in _OVER:
                await _fail(hold, [InputError(refused.code, str(refused), param=refused.param)])
            else:
                # Made at another gateway a moment ago, or its member is suspended for a while.
                await hold.let_go(again_in=_AGAIN)
            return None

    async def _is_full(self, member: MemberId) -> bool:
        """Tell whether batches that came at once are to wait: none had any lines at its coming."""
        async with self._storage.read() as connection:
            _, lines = await under_way(connection, member)
        return lines >= self._most_lines

    async def _read_all(self, hold: Hold, key: Key, file: StoredFile) -> list[InputError]:
        """Make items of all lines; give what is wrong, or nothing."""
        errors: list[InputError] = []
        model = hold.batch.model
        async for lines in self._groups(hold.batch, file):
            items, found = await asyncio.to_thread(self._check, hold.batch, lines)
            if items and model is None:
                model = items[0].reading.model
                found += self._check_model(key, items[0])
            errors += found + self._of_other_models(key, model, items)
            if len(errors) >= MAX_ERRORS:
                break
            if items and not errors:
                await self._write(hold, key, items)
        if not errors and not hold.batch.total:
            return [InputError("empty_file", "The input file holds no request.")]
        return sorted(errors, key=_place)[:MAX_ERRORS] or await self._doubles(hold.batch)

    async def _groups(self, batch: Batch, file: StoredFile) -> AsyncIterator[list[Line]]:
        """Cut the file into groups of lines, from behind the last item."""
        number, offset = await self._last(batch)
        splitter = LineSplitter(self._longest, number, offset)
        if offset < file.bytes:  # behind the last byte is nothing to ask a bucket for
            async for piece in self._store.stream(file.place, offset):
                # In a thread: a piece may be lines of nothing, a quarter of a million of them.
                for group in _grouped(await asyncio.to_thread(list, splitter.feed(piece))):
                    yield group
        for group in _grouped(splitter.finish()):
            yield group

    async def _last(self, batch: Batch) -> tuple[int, int]:
        """Tell the number of the last item's line, and where the next one begins."""
        last = (
            select(batch_items.c.line, batch_items.c.offset + batch_items.c.length + 1)
            .where(batch_items.c.batch_id == batch.id)
            .order_by(batch_items.c.line.desc())
            .limit(1)
        )
        async with self._storage.read() as connection:
            row = (await connection.execute(last)).first()
        return (0, 0) if row is None else (row[0], row[1])

    def _check(self, batch: Batch, lines: Sequence[Line]) -> tuple[list[_Item], list[InputError]]:
        """Read some lines; in a thread, since a group of long ones takes its time."""
        items: list[_Item] = []
        errors: list[InputError] = []
        for line in lines:
            try:
                if line.data is None:
                    message = f"A line has at most {self._longest} bytes."
                    raise LineRefused("invalid_request", message)
                asked = read_line(line.data, batch.endpoint, self._read)
                items.append(_Item(line, asked.custom_id, asked.reading))
            except LineRefused as refused:
                errors.append(_error(line, refused))
        return items, errors

    def _check_model(self, key: Key, item: _Item) -> list[InputError]:
        """Check the model that a line names."""
        try:
            self._desk.check_model(key, item.reading.model)
        except LineRefused as refused:
            return [_error(item.line, refused)]
        return []

    def _of_other_models(
        self, key: Key, model: str | None, items: Sequence[_Item]
    ) -> list[InputError]:
        """Find lines of another model than the first's, which is to be that of all.

        Of one that nobody knows, or the key may not use, that is said.
        """
        others = [item for item in items if item.reading.model != model][:MAX_ERRORS]
        errors: list[InputError] = []
        for item in others:
            other = InputError("mismatched_model", _OTHER_MODEL, item.line.number, "body.model")
            errors += self._check_model(key, item) or [other]
        return errors

    async def _write(self, hold: Hold, key: Key, items: Sequence[_Item]) -> None:
        """Write a group of items, and what they may cost, in one short transaction."""
        batch = hold.batch
        holds = [self._reserve.worst(key, item.reading) for item in items]
        rows = [_row(batch, item, hold) for item, hold in zip(items, holds, strict=True)]
        async with self._storage.write() as connection:
            await self._insert.add(connection, rows)
            sums = {
                "total": batch.total + len(items),
                "reserved": batch.reserved + sum(holds),
                "model": batch.model or items[0].reading.model,
            }
            await hold.change(connection, sums)

    async def _doubles(self, batch: Batch) -> list[InputError]:
        """Find ids that are there twice: by the database, which needs no memory of ours for it."""
        numbered = (
            select(
                batch_items.c.line,
                func.row_number()
                .over(partition_by=batch_items.c.custom_id, order_by=batch_items.c.line)
                .label("number"),
            )
            .where(batch_items.c.batch_id == batch.id)
            .subquery()
        )
        again = select(numbered.c.line).where(numbered.c.number > 1)
        # One at a time: each takes one of the few readers of SQLite for all that while.
        async with self._looking, self._storage.read(_LOOK_SECONDS) as connection:
            lines = await connection.scalars(again.order_by(numbered.c.line).limit(MAX_ERRORS))
            return [InputError("duplicate_custom_id", _TWICE, line, "custom_id") for line in lines]


async def _begin(hold: Hold) -> None:
    """Let workers have the batch; its next turn here is the end of its window."""
    await hold.advance(
        status="in_progress", in_progress_at=utc_now(), holder=None, due_at=hold.batch.expires_at
    )


async def _fail(hold: Hold, errors: Sequence[InputError]) -> None:
    told = msgspec.json.encode(errors).decode()
    await hold.advance(status="failed", failed_at=utc_now(), errors=told, total=0, reserved=0)


def _row(batch: Batch, item: _Item, hold: int) -> tuple[object, ...]:
    line = item.line
    return batch.id, line.number, item.custom_id, line.offset, line.length, hold, "queued", 0, 0


def _grouped(lines: Iterable[Line]) -> Iterator[list[Line]]:
    rest = iter(lines)
    while group := list(islice(rest, TOGETHER)):
        yield group


def _error(line: Line, refused: LineRefused) -> InputError:
    return InputError(refused.code, str(refused), line.number, refused.param)


def _place(error: InputError) -> int:
    return error.line or 0


__all__ = ["Desk", "Validation"]
