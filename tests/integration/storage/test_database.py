"""Transactions on a real file: private, whole, in UTC, and honest about what failed."""

import asyncio
import os
import sqlite3
import stat
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text

from garage_ai.storage import (
    ConstraintViolated,
    DatabaseCorrupt,
    DatabaseLocked,
    DatabaseReadOnly,
    DatabaseUnreachable,
    DiskFull,
    MemberId,
    Storage,
    StorageTimeout,
    ValueRefused,
    sqlite,
    sqlite_url,
)
from garage_ai.storage.tables import members

pytestmark = pytest.mark.anyio


async def add(storage: Storage, member: str, name: str = "someone") -> None:
    async with storage.write() as connection:
        row = {"id": member, "name": name, "created_at": datetime.now(UTC)}
        await connection.execute(insert(members).values(row))


async def ids(storage: Storage) -> set[str]:
    async with storage.read() as connection:
        return set(await connection.scalars(select(members.c.id)))


async def test_the_files_are_their_owners_alone(tmp_path: Path) -> None:
    """Database, WAL and shared memory are mode 0600, in a folder made for the owner."""
    path = tmp_path / "deep" / "garage.db"
    storage = await Storage.open(sqlite_url(path))
    await add(storage, "mbr_a")
    modes = {mode(file) for file in path.parent.iterdir()}
    names = {file.name for file in path.parent.iterdir()}
    await storage.close()
    assert modes == {0o600}
    assert names == {"garage.db", "garage.db-wal", "garage.db-shm"}
    assert mode(path.parent) == 0o700


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def wide_open(sqlite_file: Path) -> Path:
    sqlite_file.chmod(0o644)
    return sqlite_file


async def test_a_file_open_to_others_is_closed_to_them(wide_open: Path) -> None:
    """An older, wider mode is narrowed when the database is opened."""
    await (await Storage.open(sqlite_url(wide_open))).close()
    assert mode(wide_open) == 0o600


async def test_what_connections_to_a_file_promise(file_storage: Storage) -> None:
    """WAL, a flush at every commit, foreign keys, and patience with other writers."""
    async with file_storage.write() as connection:
        said = [
            await connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert said == ["wal", 2, 1, 5000]


async def test_a_transaction_is_whole_or_nothing(storage: Storage) -> None:
    """An error in the block takes back all of it."""
    before = await ids(storage)
    row = {"id": "mbr_a", "name": "a", "created_at": datetime.now(UTC)}

    async def twice() -> None:
        async with storage.write() as connection:
            await connection.execute(insert(members).values(row))
            await connection.execute(insert(members).values(row))

    with pytest.raises(ConstraintViolated):
        await twice()
    assert await ids(storage) == before


async def test_reading_cannot_write(storage: Storage) -> None:
    """A read transaction refuses a write, so that the one writer stays the only one."""
    with pytest.raises(DatabaseReadOnly):
        async with storage.read() as connection:
            await connection.execute(text("DELETE FROM members"))


async def test_text_that_is_no_unicode_is_refused(storage: Storage) -> None:
    """Half a surrogate pair is a value that no column can hold."""
    with pytest.raises(ValueRefused):
        await add(storage, "mbr_a", "\ud800")


async def test_writers_wait_for_each_other(storage: Storage) -> None:
    """Many writes at once, each of which reads first, all succeed."""

    async def count_up(number: int) -> None:
        async with storage.write() as connection:
            await connection.execute(select(members))
            await asyncio.sleep(0)
            row = {"id": f"mbr_{number}", "name": "x", "created_at": datetime.now(UTC)}
            await connection.execute(insert(members).values(row))

    await asyncio.gather(*(count_up(number) for number in range(40)))
    assert len(await ids(storage)) == 41


async def test_two_processes_write_one_database(storage: Storage, database: str) -> None:
    """Another process writing at the same time loses nothing and disturbs nothing."""
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", OTHER_PROCESS, database)
    for number in range(100):
        await add(storage, f"mbr_here{number}")
    assert await asyncio.wait_for(child.wait(), 30) == 0
    found = await ids(storage)
    assert {f"mbr_here{n}" for n in range(100)} | {f"mbr_there{n}" for n in range(100)} < found


OTHER_PROCESS = """
import asyncio, sys
from datetime import UTC, datetime
from sqlalchemy import insert
from garage_ai.storage import Storage
from garage_ai.storage.tables import members

async def main():
    storage = await Storage.open(sys.argv[1])
    for number in range(100):
        async with storage.write() as connection:
            row = {"id": f"mbr_there{number}", "name": "x", "created_at": datetime.now(UTC)}
            await connection.execute(insert(members).values(row))
    await storage.close()

asyncio.run(main())
"""


async def test_a_foreign_lock_is_told(sqlite_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that never ends elsewhere becomes a typed error; then all is well again."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.1)
    storage = await Storage.open(sqlite_url(sqlite_file))
    with closing(sqlite3.connect(sqlite_file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseLocked) as caught:
            await add(storage, "mbr_a")
        other.execute("ROLLBACK")
    assert caught.value.code == "database_locked"
    await add(storage, "mbr_a")
    assert "mbr_a" in await ids(storage)
    await storage.close()


async def test_a_full_disk_is_told(file_storage: Storage) -> None:
    """A write without room fails typed, takes nothing along, and works when there is room."""
    async with file_storage.write() as connection:
        pages = await connection.scalar(text("PRAGMA page_count"))
        await connection.execute(text(f"PRAGMA max_page_count={pages}"))
    await add(file_storage, "mbr_small")
    with pytest.raises(DiskFull):
        await add(file_storage, "mbr_large", "x" * 1_000_000)
    async with file_storage.write() as connection:
        await connection.execute(text("PRAGMA max_page_count=1000000"))
    await add(file_storage, "mbr_after")
    assert await ids(file_storage) == {"mbr_operator", "mbr_small", "mbr_after"}


async def test_a_transaction_that_takes_too_long_ends(storage: Storage) -> None:
    """A block that hangs is cut off and its connection is as good as new."""
    never = asyncio.Event()
    with pytest.raises(StorageTimeout):
        async with storage.write(timeout=0.05):
            await never.wait()
    await add(storage, "mbr_a")


async def test_a_timeout_of_the_caller_stays_the_callers(storage: Storage) -> None:
    """An unrelated TimeoutError in the block is not taken for the database's."""
    with pytest.raises(TimeoutError, match="mine"):
        async with storage.write():
            raise TimeoutError("mine")


@pytest.mark.parametrize("at", range(12))
async def test_a_cancelled_write_leaves_the_next_one_alone(storage: Storage, at: int) -> None:
    """Wherever a write is cancelled, it is whole or not there, and the next one works."""
    task = asyncio.create_task(add(storage, "mbr_a"))
    for _ in range(at):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=5)
    await add(storage, "mbr_b")
    assert {"mbr_b"} <= await ids(storage) - {MemberId("mbr_operator")} <= {"mbr_a", "mbr_b"}


async def refused(path: Path) -> Exception:
    try:
        await Storage.open(sqlite_url(path))
    except Exception as error:
        return error
    raise AssertionError("the database opened")


def a_folder(path: Path) -> None:
    path.mkdir()


def a_letter(path: Path) -> None:
    path.write_text("Dear diary, " * 500)


def a_damaged_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num)")
        connection.commit()
    damaged = bytearray(path.read_bytes())
    damaged[100:] = os.urandom(len(damaged) - 100)
    path.write_bytes(damaged)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (a_folder, DatabaseUnreachable),
        (a_letter, DatabaseCorrupt),
        (a_damaged_database, DatabaseCorrupt),
    ],
)
async def test_what_is_no_database_is_told(
    tmp_path: Path, make: Callable[[Path], Awaitable[None] | None], expected: type[Exception]
) -> None:
    """A folder, another file and a damaged database each end in their own error."""
    path = tmp_path / "garage.db"
    make(path)
    assert type(await refused(path)) is expected
