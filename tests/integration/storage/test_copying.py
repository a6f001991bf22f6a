"""A copy of a whole database, and its way back into either kind."""

import asyncio
import sqlite3
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select
from tests.databases import Server, made_by

from garage_ai.storage import (
    OPERATOR,
    DatabaseCorrupt,
    DatabaseNotEmpty,
    DatabaseUnreachable,
    DiskFull,
    ForeignDatabase,
    Storage,
    StorageError,
    copying,
    sqlite_url,
)
from garage_ai.storage.copying import bring_up, copy_in, copy_out, holds, is_empty
from garage_ai.storage.schema import HEAD
from garage_ai.storage.tables import images, keys, members, metadata, usage

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 1, 12, 0, 0, 123456, tzinfo=UTC)

Rows = dict[str, list[tuple[object, ...]]]


def used(number: int) -> dict[str, object]:
    return {
        "request_id": f"req_{number}",
        "at": NOON + timedelta(seconds=number),
        "member_id": OPERATOR,
        "key_id": "key_a",
        "route": "chat",
        "model": "garage-chat",
        "outcome": "completed",
        "stream": number % 2 == 0,
        "prompt_tokens": 2**40 if number else None,
        "content_events": 0,
        "bytes_out": 9,
        "duration_s": 0.1,
        "attempts": 1,
    }


async def fill(url: str, requests: int = 1203) -> None:
    storage = await Storage.open(url)
    key = {
        "id": "key_a",
        "member_id": OPERATOR,
        "name": "bärbar",
        "scopes": "admin",
        "digest": b"\0\xff" * 16,
        "created_at": NOON,
    }
    image = {"digest": "sha256:0", "note": "", "decided_at": NOON, "revoked": True}
    async with storage.write() as connection:
        await connection.execute(insert(keys).values(key))
        await connection.execute(insert(images).values(image))
        await connection.execute(insert(usage), [used(number) for number in range(requests)])
    await storage.close()


async def content(url: str) -> Rows:
    """Read everything that is in a database."""
    storage = await Storage.open(url)
    async with storage.read() as connection:
        rows = {
            table.name: [
                tuple(row)
                for row in await connection.execute(select(table).order_by(*table.primary_key))
            ]
            for table in metadata.sorted_tables
        }
    await storage.close()
    return rows


@pytest.fixture
def servers_database(postgresql: Server) -> Iterator[str]:
    with postgresql.cluster.database() as url:
        yield url


async def test_a_copy_holds_everything(database: str, tmp_path: Path) -> None:
    """Every value of every row, in one private file without anything beside it."""
    await fill(database)
    file = tmp_path / "copies" / "copy.db"
    file.parent.mkdir()
    assert await copy_out(database, file) == HEAD
    assert [each.name for each in file.parent.iterdir()] == ["copy.db"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert await holds(database, file)
    assert await content(sqlite_url(file)) == await content(database)


@pytest.mark.system
async def test_a_copy_goes_into_a_server(
    database: str, servers_database: str, tmp_path: Path
) -> None:
    """From a file or from another server: the same rows, and new ones are numbered after them."""
    await fill(database)
    await copy_out(database, tmp_path / "copy.db")
    assert await is_empty(servers_database)
    await copy_in(tmp_path / "copy.db", servers_database)
    assert not await is_empty(servers_database)
    assert await holds(servers_database, tmp_path / "copy.db")
    assert await content(servers_database) == await content(database)
    storage = await Storage.open(servers_database)
    async with storage.write() as connection:
        await connection.execute(insert(usage).values(used(5000)))
    await storage.close()
    assert len((await content(servers_database))["usage"]) == 1204


@pytest.mark.system
async def test_a_copy_may_take_as_long_as_it_goes_on(
    servers_database: str, sqlite_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A year of use takes hours: what is bounded is each step of it, not all of them together."""
    monkeypatch.setattr(copying, "COPY_SECONDS", 0.02)
    await fill(sqlite_url(sqlite_file), 20_000)
    before = time.monotonic()
    await copy_in(sqlite_file, servers_database)
    assert await copy_out(servers_database, tmp_path / "copy.db") == HEAD
    assert await holds(servers_database, tmp_path / "copy.db")
    assert time.monotonic() - before > 3 * 0.02


@pytest.mark.system
async def test_nothing_is_written_over(servers_database: str, tmp_path: Path) -> None:
    """A database that holds anything is refused and stays as it is."""
    await fill(servers_database)
    before = await content(servers_database)
    await copy_out(servers_database, tmp_path / "copy.db")
    with pytest.raises(DatabaseNotEmpty):
        await copy_in(tmp_path / "copy.db", servers_database)
    assert await content(servers_database) == before


@pytest.mark.system
async def test_a_copy_that_fails_midway_leaves_nothing(
    servers_database: str, sqlite_file: Path, tmp_path: Path
) -> None:
    """Tables too are taken back, and the next try works."""
    await fill(sqlite_url(sqlite_file), 10)
    await copy_out(sqlite_url(sqlite_file), tmp_path / "copy.db")
    long = "UPDATE usage SET model = ?"
    with closing(sqlite3.connect(tmp_path / "copy.db")) as connection:
        connection.execute(long, ["x" * 300])
        connection.commit()
    with pytest.raises(StorageError):
        await copy_in(tmp_path / "copy.db", servers_database)
    assert await is_empty(servers_database)
    with closing(sqlite3.connect(tmp_path / "copy.db")) as connection:
        connection.execute(long, ["a\0b"])
        connection.commit()
    await copy_in(tmp_path / "copy.db", servers_database)
    assert {row[6] for row in (await content(servers_database))["usage"]} == {"a\ufffdb"}


async def test_a_copy_is_of_one_moment(storage: Storage, database: str, tmp_path: Path) -> None:
    """While another writes two rows at a time, the copy never has one without the other."""
    ended = asyncio.Event()

    async def pairs() -> None:
        number = 0
        while not ended.is_set():
            rows = [
                {"id": f"mbr_{number}_{half}", "name": "x", "created_at": NOON} for half in "ab"
            ]
            async with storage.write() as connection:
                for row in rows:
                    await connection.execute(insert(members).values(row))
            number += 1

    writing = asyncio.create_task(pairs())
    for each in range(5):
        await copy_out(database, tmp_path / f"{each}.db")
        with closing(sqlite3.connect(tmp_path / f"{each}.db")) as connection:
            [(rows,)] = connection.execute("SELECT count(*) FROM members")
        assert rows % 2 == 1  # the operator and pairs
    ended.set()
    await writing


async def test_what_is_not_there_is_not_copied(tmp_path: Path) -> None:
    """No file, and a file of another program."""
    with pytest.raises(DatabaseUnreachable):
        await copy_out(sqlite_url(tmp_path / "none.db"), tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "photos.db")) as connection:
        connection.execute("CREATE TABLE photos (id INTEGER)")
    with pytest.raises(ForeignDatabase):
        await copy_out(sqlite_url(tmp_path / "photos.db"), tmp_path / "copy.db")


@pytest.mark.system
async def test_a_disk_without_room_for_a_copy_is_told(sqlite_file: Path, tmp_path: Path) -> None:
    """It was told as a database that is damaged; its owner would restore an older one over it."""
    await fill(sqlite_url(sqlite_file))
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", disk], check=True)  # noqa: ASYNC221
    try:
        with pytest.raises(DiskFull, match=r"disk/copy\.db"):
            await copy_out(sqlite_url(sqlite_file), disk / "copy.db")
    finally:
        subprocess.run(["umount", disk], check=True)  # noqa: ASYNC221


async def test_a_damaged_database_is_told(sqlite_file: Path, tmp_path: Path) -> None:
    """With its name."""
    await fill(sqlite_url(sqlite_file))
    with sqlite_file.open("r+b") as file:
        file.write(b"this is no database")
    with pytest.raises(DatabaseCorrupt, match=sqlite_file.name):
        await copy_out(sqlite_url(sqlite_file), tmp_path / "copy.db")


async def test_an_older_database_is_copied_as_it_is(empty_database: str, tmp_path: Path) -> None:
    """A backup may be made before an upgrade; the copy is brought up before it goes anywhere."""
    engine = await made_by(empty_database, "0002")
    async with engine.begin() as connection:
        row = {"id": "mbr_a", "name": "Åsa", "created_at": NOON}
        await connection.execute(insert(members).values(row))
    await engine.dispose()
    file = tmp_path / "copy" / "copy.db"
    file.parent.mkdir()
    assert await copy_out(empty_database, file) == "0002"
    await bring_up(file)
    assert [each.name for each in file.parent.iterdir()] == ["copy.db"]
    found = (await content(sqlite_url(file)))["members"]
    assert ("mbr_a", "Åsa", NOON) in [row[:3] for row in found]
