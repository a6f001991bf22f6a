"""Make a batch's output and error files, once, of the results that stand in the database.

First the batch is fenced: from `finalizing_at` on no result is taken for it. Then its items are
read in the order of their lines, and one transaction lets the files and the end of the batch be
there together. Whoever is killed before that leaves nothing that is seen; the next begins anew.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Final

from sqlalchemy import Row, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.audit.models import Clock, utc_now
from garage_ai.batch.errors import FileStoreUnavailable
from garage_ai.batch.files import Files
from garage_ai.batch.holding import Hold, now_of
from garage_ai.batch.models import (
    ACTIVE,
    DEDICATED,
    Batch,
    BatchId,
    FileId,
    Status,
    StoredFile,
    batch_of,
)
from garage_ai.batch.reserving import Reserve
from garage_ai.batch.results import unanswered
from garage_ai.batch.store import Writing
from garage_ai.storage import Storage
from garage_ai.storage.tables import batch_items, batches, leases

GRACE: Final = timedelta(seconds=60)
"""How long what runs may go on after a cancellation, or after the end of the window."""
_AGAIN: Final = timedelta(seconds=1)
_ROWS: Final = 1000
"""Items that are looked at, or removed, in one short transaction."""
_BYTES: Final = 4 * 1024 * 1024
"""Results that are held in memory, unless one alone is larger."""

_EXPIRED: Final = (
    "batch_expired",
    "The completion window ended before this request was answered.",
)
_NO_ENGINE: Final = (
    "isolation_unavailable",
    "No engine for this batch alone answered anything within its completion window.",
)
_CANCELLED: Final = (
    "batch_cancelled",
    "The batch was cancelled before this request was answered.",
)


class Finalising:
    """Bring batches to their ends, and clear away what is needed no more."""

    def __init__(
        self,
        storage: Storage,
        files: Files,
        reserve: Reserve,
        clock: Clock = utc_now,
        over: Callable[[BatchId], None] = lambda _: None,
    ) -> None:
        """`over` is told of each batch of which no result is taken any more."""
        self._storage = storage
        self._files = files
        self._reserve = reserve
        self._clock = clock
        self._over = over

    async def run(self, hold: Hold) -> None:
        """Make a batch's files and end it; later where something of it still runs.

        Raises: HoldLost, FileStoreUnavailable, StorageError.
        """
        if hold.batch.finalizing_at is None:
            if await self._must_wait(hold.batch):
                await hold.let_go(again_in=_AGAIN)
                return
            is_cancelled = hold.batch.status == "cancelling"
            status = "cancelling" if is_cancelled else "finalizing"
            await hold.advance(status=status, finalizing_at=self._clock())
            self._over(hold.batch.id)
        async with AsyncExitStack() as stack:
            output = ResultFile(self._files, hold.batch, "output")
            stack.push_async_callback(output.close)
            errors = ResultFile(self._files, hold.batch, "errors")
            stack.push_async_callback(errors.close)
            if hold.batch.in_progress_at is not None:
                await self._write(hold, output, errors)
            await self._end(hold, output, errors)

    async def clear(self, hold: Hold) -> None:
        """Give back what was reserved for a batch that has ended, and forget its items.

        Raises: HoldLost, StorageError.
        """
        batch = hold.batch
        await self._reserve.release(batch)
        some = select(batch_items.c.line).where(batch_items.c.batch_id == batch.id).limit(_ROWS)
        gone = delete(batch_items).where(
            batch_items.c.batch_id == batch.id, batch_items.c.line.in_(some)
        )
        while True:
            async with self._storage.write() as connection:
                if not (await connection.execute(gone)).rowcount:
                    break
        await hold.advance(holder=None, due_at=None)

    async def release_late(self) -> None:
        """Give back what was set aside for batches that had ended by then.

        A promise may be on its way when its batch is cancelled. Raises: StorageError.
        """
        over = batches.c.status.not_in(ACTIVE), batches.c.due_at.is_(None)
        promised = select(batches).join(leases, leases.c.id == batches.c.id)
        late = promised.where(leases.c.state == "open", *over).limit(_ROWS)
        async with self._storage.read() as connection:
            ended = [batch_of(row) for row in await connection.execute(late)]
        for batch in ended:
            await self._reserve.release(batch)

    async def _must_wait(self, batch: Batch) -> bool:
        """Tell whether something runs whose result is worth waiting for."""
        if batch.completed + batch.failed >= batch.total:
            return False
        since = batch.cancelling_at or batch.expires_at
        if self._clock() >= since + GRACE:
            return False
        leased = select(batch_items.c.line).where(
            batch_items.c.batch_id == batch.id, batch_items.c.state == "leased"
        )
        async with self._storage.read() as connection:
            return (await connection.execute(leased.limit(1))).first() is not None

    async def _write(self, hold: Hold, output: "ResultFile", errors: "ResultFile") -> None:
        """Write all results in the order of their lines."""
        batch = hold.batch
        code, message = _why_unanswered(batch)
        async for page in self._pages(batch):
            done: list[bytes] = []
            failed: list[bytes] = []
            for row in page:
                if row.state == "done":
                    done.append(row.result)
                else:
                    unsaid = unanswered(batch.id, row.line, row.custom_id, code, message)
                    failed.append(row.result or unsaid)
            await output.write(b"".join(done))
            await errors.write(b"".join(failed))

    async def _pages(
        self, batch: Batch
    ) -> AsyncIterator[Sequence[Row[int, str, str, bytes | None]]]:
        """Give the items with their results, as many at once as fit into the bound of bytes."""
        last = 0
        while True:
            of_batch = (batch_items.c.batch_id == batch.id) & (batch_items.c.line > last)
            sizes = select(batch_items.c.line, func.length(batch_items.c.result)).where(of_batch)
            ordered = sizes.order_by(batch_items.c.line).limit(_ROWS)
            async with self._storage.read() as connection:
                last = _last_that_fits((await connection.execute(ordered)).all(), last)
                page = (
                    select(
                        batch_items.c.line,
                        batch_items.c.custom_id,
                        batch_items.c.state,
                        batch_items.c.result,
                    )
                    .where(of_batch, batch_items.c.line <= last)
                    .order_by(batch_items.c.line)
                )
                rows = (await connection.execute(page)).all()
            if not rows:
                return
            yield rows

    async def _end(self, hold: Hold, output: "ResultFile", errors: "ResultFile") -> None:
        """Let the files and the end of the batch be there, in one transaction."""
        batch = hold.batch
        is_begun = batch.in_progress_at is not None
        total = batch.total if is_begun else 0
        status = _end_of(batch)
        await output.finish()
        await errors.finish()
        values: dict[str, object] = {
            "status": status,
            f"{status}_at": self._clock(),
            "total": total,
            "failed": total - batch.completed,
            "reserved": batch.reserved if is_begun else 0,
        }
        values |= {"output_file_id": output.id, "error_file_id": errors.id}
        async with self._storage.write() as connection:
            values["due_at"] = await now_of(connection)
            # The batch before its files: in this order an erasure has them, too.
            await hold.change(connection, values)
            await output.register(connection)
            await errors.register(connection)
        output.keep()
        errors.keep()


class ResultFile:
    """A file of results that is made when there is a first one."""

    def __init__(self, files: Files, batch: Batch, kind: str) -> None:
        self._files = files
        self._batch = batch
        self._name = f"{batch.id}_{kind}.jsonl"
        self._file: StoredFile | None = None
        self._writing: Writing | None = None
        self._size = 0

    @property
    def id(self) -> FileId | None:
        """What it is called, None without one."""
        return None if self._file is None else self._file.id

    async def write(self, data: bytes) -> None:
        """Append whole lines. Raises: FileStoreUnavailable, StorageError."""
        if not data:
            return
        if self._writing is None:
            batch = self._batch
            self._file = await self._files.begin(batch.member, batch.key_id, self._name)
            self._writing = await self._files.store.create(self._file.place)
        await self._writing.write(data)
        self._size += len(data)

    async def finish(self) -> None:
        """Let the bytes be in the store. Raises: FileStoreUnavailable."""
        if self._writing is not None:
            await self._writing.commit()

    async def register(self, connection: AsyncConnection) -> None:
        """Let the file be there, if it was made, in the caller's transaction."""
        if self._file is None:
            return
        expires = self._batch.output_expires_s
        kept = None if expires is None else timedelta(seconds=expires)
        await self._files.register(connection, self._file, self._size, kept)

    def keep(self) -> None:
        """Note that the file is registered for good."""
        self._writing = self._file = None

    async def close(self) -> None:
        """Throw away what was not registered; what cannot be now is swept away later."""
        if self._file is None:
            return
        if self._writing is not None:
            with contextlib.suppress(FileStoreUnavailable):
                await self._writing.abort()
        await self._files.abandon(self._file)


def _why_unanswered(batch: Batch) -> tuple[str, str]:
    """Say what is told of items that have no result."""
    if batch.status == "cancelling":
        return _CANCELLED
    is_begun = batch.completed + batch.failed > 0
    return _NO_ENGINE if batch.isolation == DEDICATED and not is_begun else _EXPIRED


def _end_of(batch: Batch) -> Status:
    if batch.status == "cancelling":
        return "cancelled"
    return "completed" if batch.completed + batch.failed >= batch.total else "expired"


def _last_that_fits(rows: Sequence[Row[int, int | None]], last: int) -> int:
    """Give the line up to which the results together stay within the bound; one at least."""
    held = 0
    for line, size in rows:
        held += size or 0
        if held > _BYTES and held != size:
            break
        last = line
    return last


__all__ = ["GRACE", "Finalising"]
