"""Files of members: uploaded, listed, read, deleted.

A row comes before its bytes and goes after them, so that a crash leaves nothing behind that nobody
knows: what is `uploading` for hours, or `deleting`, is swept away. Of a file that was there the
bare row stays `deleted` for a day: a client that deletes what it lists goes on from its place.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, Self

from sqlalchemy import ColumnElement, Select, and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.accounts import Key, MemberId, require_member
from garage_ai.audit.models import Action, Actor, Clock, Entry, utc_now
from garage_ai.audit.service import AuditLog
from garage_ai.batch.errors import (
    FileInUse,
    FileNotFound,
    FileSpaceFull,
    FileStoreUnavailable,
    FileTooLarge,
    TooManyLines,
)
from garage_ai.batch.models import (
    ACTIVE,
    UPLOAD_FOR,
    FileId,
    FileStatus,
    Purpose,
    StoredFile,
    file_of,
    new_file_id,
)
from garage_ai.batch.store import FileStore, Writing
from garage_ai.storage import Storage, StorageError
from garage_ai.storage.tables import batches, files

Order = Literal["asc", "desc"]

HALF_MADE_FOR: Final = timedelta(hours=6)
"""How long a file may be on its way; what is older was left behind by a process that is gone."""
PLACE_KEPT_FOR: Final = timedelta(days=1)
"""How long a list may be gone on with from behind a file that is gone."""
MAX_FILENAME: Final = 255
MAX_FAILURES: Final = 3
"""Files that cannot be removed before the store is taken for gone."""


@dataclass(frozen=True, slots=True)
class FileLimits:
    """Bytes and lines of a file, what a member's may be together, and how long they are kept."""

    size: int = 1_000_000_000
    lines: int = 1_000_000
    member_bytes: int = 10_000_000_000
    member_files: int = 10_000
    kept: timedelta = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class FilePage:
    """Files in order, and whether there are more."""

    files: Sequence[StoredFile]
    has_more: bool


class Files:
    """Files in the database and in `store`."""

    def __init__(
        self,
        storage: Storage,
        store: FileStore,
        limits: FileLimits | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self._storage = storage
        self.store = store
        self._audit = AuditLog(storage, clock)
        self._clock = clock
        self.limits = limits or FileLimits()

    async def upload(self, owner: Key, filename: str, announced: int | None = None) -> "Upload":
        """Begin to take a file in, of as many bytes as are announced at most.

        Its space is set aside, so that files on their way together stay within the bound.
        Raises: MemberErased, FileSpaceFull, FileStoreUnavailable, StorageError.
        """
        limits = self.limits
        async with self._storage.write(in_turn=True) as connection:
            await require_member(connection, owner.member)
            number, used = await _used(connection, owner.member)
            left = limits.member_bytes - used
            size = min(limits.size, left if announced is None else announced)
            if left <= 0 or size > left:
                raise _full(limits)
            if number >= limits.member_files:
                raise FileSpaceFull(f"A member has at most {limits.member_files} files.")
            file = await self._add(connection, owner.member, owner.id, "batch", filename, size=size)
        try:
            return Upload(self, file, await self.store.create(file.place), owner)
        except BaseException:
            await self.abandon(file)
            raise

    async def begin(self, member: MemberId, key_id: str, filename: str) -> StoredFile:
        """Put down the row of a file of results, whose bytes are to come. Raises: StorageError."""
        async with self._storage.write() as connection:
            return await self._add(connection, member, key_id, "batch_output", filename, size=0)

    async def _add(
        self,
        connection: AsyncConnection,
        member: MemberId,
        key_id: str,
        purpose: Purpose,
        filename: str,
        *,
        size: int,
    ) -> StoredFile:
        made = new_file_id()
        values = {
            "id": made,
            "member_id": member,
            "key_id": key_id,
            "purpose": purpose,
            "filename": _harmless(filename),
            "bytes": size,
            "status": "uploading",
            "created_at": self._clock(),
            "expires_at": None,
            "place": made,
        }
        await connection.execute(insert(files).values(values))
        return await _find(connection, made, files.c.member_id == member)

    async def keep(
        self, file: StoredFile, size: int, expires_after: timedelta | None, by: Actor
    ) -> StoredFile:
        """Let an uploaded file be there. Raises: FileNotFound, StorageError."""
        async with self._storage.write(in_turn=True) as connection:
            await self.register(connection, file, size, expires_after)
            entry = Entry(Action.FILE_ADDED, by, file.id, file.member, {"bytes": size})
            await self._audit.record(connection, entry)
            return await _find(connection, file.id, files.c.member_id == file.member)

    async def register(
        self,
        connection: AsyncConnection,
        file: StoredFile,
        size: int,
        expires_after: timedelta | None,
    ) -> None:
        """Let a file whose bytes are in the store be there, in the caller's transaction.

        Raises: FileNotFound when its member was erased, or the file swept away, meanwhile.
        """
        expires = file.created_at + (expires_after or self.limits.kept)
        values = {"bytes": size, "expires_at": expires}
        if not await _become(connection, file.id, "processed", was="uploading", **values):
            raise FileNotFound(f"{file.id} is no longer expected")

    async def get(self, member: MemberId, file: str) -> StoredFile:
        """Give a member's file. Raises: FileNotFound, StorageError."""
        async with self._storage.read() as connection:
            return await find_file(connection, member, file, self._clock())

    async def list(
        self,
        member: MemberId,
        limit: int,
        after: str | None = None,
        purpose: str | None = None,
        order: Order = "desc",
    ) -> FilePage:
        """List a member's files from behind one of them, which may be gone for a while.

        Raises: FileNotFound, StorageError.
        """
        wanted = select(files).where(_theirs(member, self._clock()))
        if purpose is not None:
            wanted = wanted.where(files.c.purpose == purpose)
        async with self._storage.read() as connection:
            if after is not None:
                last = await _find(connection, after, files.c.member_id == member)
                wanted = wanted.where(_behind(last, order))
            rows = (await connection.execute(_ordered(wanted, order).limit(limit + 1))).all()
        return FilePage([file_of(row) for row in rows[:limit]], len(rows) > limit)

    async def content(self, member: MemberId, file: str) -> tuple[StoredFile, AsyncIterator[bytes]]:
        """Give a file and its bytes. Raises: FileNotFound, FileStoreUnavailable, StorageError."""
        found = await self.get(member, file)
        return found, self.store.stream(found.place)

    async def delete(self, owner: Key, file: str) -> None:
        """Delete a file. Raises: FileNotFound, FileInUse, StorageError."""
        async with self._storage.write(in_turn=True) as connection:
            found = await find_file(connection, owner.member, file, self._clock())
            if await _is_read(connection, found.id):
                raise FileInUse(f"{found.id} is read by a batch; cancel that first")
            await _become(connection, found.id, "deleting", was="processed")
            by = Actor.key(owner.id, owner.member)
            entry = Entry(Action.FILE_DELETED, by, found.id, owner.member)
            await self._audit.record(connection, entry)
        with contextlib.suppress(FileStoreUnavailable):  # `sweep` removes the bytes then
            await self.drop(found)

    async def abandon(self, file: StoredFile) -> None:
        """Remove a file unless it is there: whether a transaction ended well may be in doubt.

        What cannot be removed now is swept away later.
        """
        its = select(files.c.status).where(files.c.id == file.id)
        with contextlib.suppress(FileStoreUnavailable, StorageError):
            async with self._storage.write() as connection:
                await _become(connection, file.id, "deleting", was="uploading")
                status = await connection.scalar(its)
            if status != "processed":
                await self.drop(file)

    async def drop(self, file: StoredFile) -> None:
        """Remove the bytes, then the row, or all of it but its place in lists.

        Raises: FileStoreUnavailable, StorageError.
        """
        await self.store.delete(file.place)
        its = files.c.id == file.id
        until = self._clock() + PLACE_KEPT_FOR
        bare = {"status": "deleted", "filename": "", "bytes": 0, "expires_at": until}
        never_listed = file.expires_at is None
        gone = delete(files).where(its) if never_listed else update(files).where(its).values(bare)
        async with self._storage.write() as connection:
            await connection.execute(gone)

    async def sweep(self, limit: int = 100) -> int:
        """Remove files whose time is over, what was left half made, and old places; gives how many.

        What cannot be removed keeps nothing else, unless there is more of it than `MAX_FAILURES`.
        Raises: FileStoreUnavailable where that is all there is, StorageError.
        """
        now = self._clock()
        read = select(batches.c.input_file_id).where(batches.c.status.in_(ACTIVE))
        over = and_(
            files.c.status == "processed", files.c.expires_at <= now, files.c.id.not_in(read)
        )
        cut_off = and_(files.c.purpose == "batch", files.c.created_at < now - 1.5 * UPLOAD_FOR)
        late = or_(cut_off, files.c.created_at < now - HALF_MADE_FOR)
        half = and_(files.c.status == "uploading", late)
        due = select(files).where(or_(files.c.status == "deleting", over, half))
        places = files.c.status == "deleted", files.c.expires_at <= now
        old = files.c.id.in_(select(files.c.id).where(*places).limit(limit))
        async with self._storage.write(in_turn=True) as connection:
            forgotten = (await connection.execute(delete(files).where(old))).rowcount
            # In no order, so that what fails again and again is not always first.
            some = await connection.execute(due.order_by(func.random()).limit(limit))
            doomed = [file_of(row) for row in some]
            if doomed:
                its = files.c.id.in_([file.id for file in doomed])
                await connection.execute(update(files).where(its).values(status="deleting"))
        return forgotten + await self._drop_all(doomed)

    async def _drop_all(self, doomed: Sequence[StoredFile]) -> int:
        failed: list[FileStoreUnavailable] = []
        for file in doomed:
            try:
                await self.drop(file)
            except FileStoreUnavailable as error:
                failed.append(error)
                if len(failed) > MAX_FAILURES:
                    break
        if failed and len(failed) in (len(doomed), MAX_FAILURES + 1):
            raise failed[0]
        return len(doomed) - len(failed)


class Upload:
    """A file that is being taken in; what is not kept at the end of the block is dropped."""

    def __init__(self, files: Files, file: StoredFile, writing: Writing, owner: Key) -> None:
        self._files = files
        self._file = file
        self._writing = writing
        self._owner = owner
        self._size = 0
        self._ends = 0
        self._is_open = False  # whether the last line has no end yet
        self._kept = False

    async def __aenter__(self) -> Self:
        return self

    async def write(self, data: bytes) -> None:
        """Take bytes. Raises: FileTooLarge, TooManyLines, FileSpaceFull, FileStoreUnavailable."""
        if not data:
            return
        limits = self._files.limits
        self._size += len(data)
        self._ends += data.count(b"\n")
        self._is_open = not data.endswith(b"\n")
        if self._size > limits.size:
            raise FileTooLarge(f"A file has at most {limits.size} bytes.")
        if self._size > self._file.bytes:
            raise _full(limits)
        if self._ends + self._is_open > limits.lines:
            raise TooManyLines(f"A file has at most {limits.lines} lines.")
        await self._writing.write(data)

    async def keep(self, expires_after: timedelta | None = None) -> StoredFile:
        """Let the file be there.

        Raises: FileNotFound, FileStoreUnavailable, StorageError.
        """
        await self._writing.commit()
        by = Actor.key(self._owner.id, self._owner.member)
        kept = await self._files.keep(self._file, self._size, expires_after, by)
        self._kept = True
        return kept

    async def __aexit__(self, *_: object) -> None:
        if not self._kept:
            with contextlib.suppress(FileStoreUnavailable):
                await self._writing.abort()
            await self._files.abandon(self._file)


async def find_file(
    connection: AsyncConnection, member: MemberId, file: str, now: datetime
) -> StoredFile:
    """Give a member's file in the caller's transaction. Raises: FileNotFound."""
    return await _find(connection, file, _theirs(member, now))


async def _find(connection: AsyncConnection, file: str, which: ColumnElement[bool]) -> StoredFile:
    row = (await connection.execute(select(files).where(files.c.id == file, which))).first()
    if row is None:
        raise FileNotFound(f"no file {file[:64]!r}")
    return file_of(row)


async def _become(
    connection: AsyncConnection,
    file: FileId,
    status: FileStatus,
    *,
    was: FileStatus,
    **values: object,
) -> bool:
    """Change the state of a file that has the one it is to have; tell whether it had."""
    its = update(files).where(files.c.id == file, files.c.status == was)
    return bool((await connection.execute(its.values(status=status, **values))).rowcount)


async def _used(connection: AsyncConnection, member: MemberId) -> tuple[int, int]:
    """Count a member's files and their bytes: results too, and what is set aside."""
    counted = select(func.count(), func.coalesce(func.sum(files.c.bytes), 0))
    its = files.c.member_id == member, files.c.status.in_(("processed", "uploading"))
    number, size = (await connection.execute(counted.where(*its))).one()
    return number, int(size)


async def _is_read(connection: AsyncConnection, file: FileId) -> bool:
    its = batches.c.input_file_id == file, batches.c.status.in_(ACTIVE)
    return await connection.scalar(select(batches.c.id).where(*its).limit(1)) is not None


def _theirs(member: MemberId, now: datetime) -> ColumnElement[bool]:
    """Choose what is there for a member: not what waits to be swept away."""
    in_time = or_(files.c.expires_at.is_(None), files.c.expires_at > now)
    return and_(files.c.member_id == member, files.c.status == "processed", in_time)


def _ordered(wanted: Select[tuple[object, ...]], order: Order) -> Select[tuple[object, ...]]:
    columns = (files.c.created_at, files.c.id)
    return wanted.order_by(*(c.desc() if order == "desc" else c.asc() for c in columns))


def _behind(last: StoredFile, order: Order) -> ColumnElement[bool]:
    created, own = files.c.created_at, files.c.id
    if order == "desc":
        return or_(created < last.created_at, and_(created == last.created_at, own < last.id))
    return or_(created > last.created_at, and_(created == last.created_at, own > last.id))


def _harmless(filename: str) -> str:
    """Cut a client's file name to a name: no folders, nothing that does not print."""
    name = filename.replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in name if c.isprintable())[:MAX_FILENAME] or "file"


def _full(limits: FileLimits) -> FileSpaceFull:
    return FileSpaceFull(f"A member's files have at most {limits.member_bytes} bytes together.")


__all__ = ["FileLimits", "FilePage", "Files", "Order", "Upload", "find_file"]
