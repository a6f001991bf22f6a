"""A real server: what its connections promise, and what happens when it is not there."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.databases import Server
from tests.parts.locks import until_somebody_waits

from garage_ai.storage import (
    DatabaseDenied,
    DatabaseLocked,
    DatabaseUnreachable,
    DiskFull,
    Storage,
    StorageTimeout,
    ValueRefused,
    postgresql,
)
from garage_ai.storage.tables import members

pytestmark = [pytest.mark.anyio, pytest.mark.system]


@pytest.fixture
def url(postgresql: Server) -> Iterator[str]:
    with postgresql.cluster.database(postgresql.template) as made:
        yield made


@pytest.fixture
async def storage(url: str) -> AsyncIterator[Storage]:
    opened = await Storage.open(url)
    yield opened
    await opened.close()


@pytest.fixture
async def restarted(killable: Server) -> AsyncIterator[Storage]:
    """A database on a server that the test may end."""
    with killable.cluster.database(killable.template) as made:
        opened = await Storage.open(made)
        yield opened
        await opened.close()


async def add(storage: Storage, member: str, name: str = "someone") -> None:
    async with storage.write() as connection:
        row = {"id": member, "name": name, "created_at": datetime.now(UTC)}
        await connection.execute(insert(members).values(row))


async def ids(storage: Storage) -> set[str]:
    async with storage.read() as connection:
        return set(await connection.scalars(select(members.c.id)))


async def settings(connection: AsyncConnection, *names: str) -> list[str]:
    return [str(await connection.scalar(text(f"SHOW {name}"))) for name in names]


LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")


async def test_what_connections_promise(storage: Storage) -> None:
    """A flush at every commit, UTC, one state for a reader, and an end to every wait."""
    async with storage.write() as connection:
        assert await settings(connection, "synchronous_commit", "timezone") == ["on", "UTC"]
        assert await settings(connection, "transaction_isolation") == ["read committed"]
        assert await settings(connection, *LIMITS) == ["10s", "5s", "15s"]
    async with storage.read() as connection:
        assert await settings(connection, "transaction_isolation") == ["repeatable read"]
        assert await settings(connection, "transaction_read_only") == ["on"]
        assert await settings(connection, *LIMITS) == ["10s", "5s", "15s"]


async def test_a_long_transaction_is_allowed_its_time(storage: Storage) -> None:
    """For it and for no other on the same connection, the server waits as long as we do."""
    async with storage.write(timeout=600) as connection:
        assert await settings(connection, *LIMITS) == ["10min"] * 3
    async with storage.write() as connection:
        assert await settings(connection, *LIMITS) == ["10s", "5s", "15s"]


async def test_a_reader_sees_one_state(storage: Storage) -> None:
    """What others commit meanwhile is not in the transaction, but in the next one."""
    async with storage.read() as connection:
        before = set(await connection.scalars(select(members.c.id)))
        await add(storage, "mbr_a")
        assert set(await connection.scalars(select(members.c.id))) == before
    assert "mbr_a" in await ids(storage)


async def test_writers_do_not_wait_for_each_other(storage: Storage) -> None:
    """Another row is written while a transaction is under way; only turns are taken."""
    async with storage.write(in_turn=True) as connection:
        await connection.execute(update(members).values(name="me"))
        await add(storage, "mbr_b")
    assert "mbr_b" in await ids(storage)


async def test_turns_are_taken_between_gateways(storage: Storage, url: str) -> None:
    """Of two transactions that read and then write by what they read, none misses the other."""
    other = await Storage.open(url)

    async def count_up(where: Storage) -> None:
        async with where.write(in_turn=True) as connection:
            before = int(str(await connection.scalar(select(members.c.name))))
            await asyncio.sleep(0)
            await connection.execute(update(members).values(name=str(before + 1)))

    async with storage.write() as connection:
        await connection.execute(update(members).values(name="0"))
    await asyncio.gather(*(count_up(where) for where in (storage, other) * 20))
    await other.close()
    async with storage.read() as connection:
        assert await connection.scalar(select(members.c.name)) == "40"


async def test_who_waits_for_a_turn_keeps_no_other_from_writing(storage: Storage, url: str) -> None:
    """However many do, one connection does: the ends of requests have the others."""
    other = await Storage.open(url)

    async def change() -> None:
        async with storage.write(in_turn=True) as connection:
            await connection.execute(update(members).values(name="me"))

    async with other.write(in_turn=True) as connection:
        waiting = [asyncio.create_task(change()) for _ in range(2 * postgresql._WRITERS)]
        await until_somebody_waits(connection)
        async with asyncio.timeout(postgresql.LOCK_SECONDS / 2):
            await add(storage, "mbr_b")
    await asyncio.gather(*waiting)
    await other.close()
    assert "mbr_b" in await ids(storage)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = postgresql._SETTINGS | {"lock_timeout": "100ms", "statement_timeout": "300ms"}
    monkeypatch.setattr(postgresql, "_SETTINGS", quick)


async def test_a_lock_that_is_held_too_long_is_told(impatient: None, url: str) -> None:
    """A row that another transaction never lets go becomes a typed error; then all is well."""
    storage = await Storage.open(url)
    async with storage.write() as holding:
        await holding.execute(update(members).values(name="mine"))
        with pytest.raises(DatabaseLocked):
            async with storage.write() as waiting:
                await waiting.execute(update(members).values(name="no, mine"))
    async with storage.read() as connection:
        assert await connection.scalar(select(members.c.name)) == "mine"
    await storage.close()


async def test_a_statement_that_takes_too_long_is_told(impatient: None, url: str) -> None:
    """The server ends it, whether or not anybody still waits."""
    storage = await Storage.open(url)
    with pytest.raises(StorageTimeout):
        async with storage.read() as connection:
            await connection.execute(text("SELECT pg_sleep(5)"))
    assert await ids(storage) == {"mbr_operator"}
    await storage.close()


async def test_of_two_that_wait_for_each_other_one_is_told(storage: Storage) -> None:
    """A deadlock ends in a typed error for one, which may try again; the other commits."""
    await add(storage, "mbr_a")
    both = asyncio.Barrier(2)

    async def write(*order: str) -> None:
        async with storage.write() as connection:
            for at, member in enumerate(order):
                row = update(members).where(members.c.id == member)
                await connection.execute(row.values(name="x"))
                if at == 0:
                    await both.wait()

    pair = write("mbr_a", "mbr_operator"), write("mbr_operator", "mbr_a")
    ends = await asyncio.gather(*pair, return_exceptions=True)
    assert [type(end) for end in ends if end] == [DatabaseLocked]


@pytest.mark.parametrize("name", ["x" * 201, "a\0b"])
async def test_a_value_that_does_not_fit_is_refused(storage: Storage, name: str) -> None:
    """PostgreSQL holds columns to their length, and no text has a NUL."""
    with pytest.raises(ValueRefused) as caught:
        await add(storage, "mbr_a", name)
    assert name not in str(caught.value)


async def through_each_door(storage: Storage) -> None:
    """Read, write, and write a group of rows."""
    number = len(await ids(storage))
    await add(storage, f"mbr_{number}")
    columns = ("id", "name", "created_at")
    row = (f"mbr_group{number}", "x", datetime.now(UTC))
    assert await storage.write_exactly([storage.new_rows(members, columns).change([row])])


OTHERS = "FROM pg_stat_activity WHERE usename = user AND pid <> pg_backend_pid()"


async def end_connections(storage: Storage) -> None:
    async with storage.read() as connection:
        # Waits until each is gone: before that it is no dead connection.
        await connection.execute(text(f"SELECT pg_terminate_backend(pid, 5000) {OTHERS}"))


async def test_a_restart_of_the_server_fails_nothing(restarted: Storage, killable: Server) -> None:
    """After it every pooled connection is dead, and the next transactions do not notice."""
    for end in (killable.cluster.shut_down, killable.cluster.kill):
        await through_each_door(restarted)
        end()
        killable.cluster.start()
        await through_each_door(restarted)


async def test_a_connection_that_the_server_ended_is_replaced(storage: Storage) -> None:
    """An administrator who ends sessions ends no request."""
    for _ in range(3):
        await through_each_door(storage)
        await end_connections(storage)
        await through_each_door(storage)


def end_in_the_foreground(pids: list[str]) -> None:
    """End processes and wait for it without letting the loop read anything."""
    subprocess.run(["kill", *pids], check=True)
    each = [f"--pid={pid}" for pid in pids]
    subprocess.run(["tail", *each, "-f", "/dev/null"], check=True, timeout=60)


async def test_the_end_is_seen_before_it_was_heard(storage: Storage) -> None:
    """A dead connection is known by its socket, though the loop had no time to read from it."""
    await through_each_door(storage)
    async with storage.read() as connection:
        pids = await connection.scalars(
            text(
                "SELECT pid FROM pg_stat_activity WHERE usename = user AND pid <> pg_backend_pid()"
            )
        )
        victims = [str(pid) for pid in pids]
    end_in_the_foreground(victims)
    await add(storage, "mbr_after")


async def test_a_server_that_is_away_is_told(restarted: Storage, killable: Server) -> None:
    """Soon, as what may pass by itself; when it is back all goes on."""
    await through_each_door(restarted)
    killable.cluster.kill()
    for attempt in (ids(restarted), add(restarted, "mbr_never")):
        with pytest.raises(DatabaseUnreachable):
            await attempt
    killable.cluster.start()
    await through_each_door(restarted)
    assert "mbr_never" not in await ids(restarted)


async def test_a_server_that_falls_silent_is_told(storage: Storage) -> None:
    """A transaction on a server that says nothing ends in the time it was given."""
    async with storage.write() as connection:
        pid = int(str(await connection.scalar(text("SELECT pg_backend_pid()"))))
    os.kill(pid, signal.SIGSTOP)
    try:
        begun = asyncio.get_running_loop().time()
        with pytest.raises(StorageTimeout):
            async with storage.write(timeout=0.3) as connection:
                await connection.execute(update(members).values(name="x"))
        assert asyncio.get_running_loop().time() - begun < 9  # the server's own is ten seconds
    finally:
        os.kill(pid, signal.SIGCONT)
    await through_each_door(storage)


async def test_who_may_not_is_told(url: str, postgresql: Server) -> None:
    """An unknown user, an unknown database, and a database without the right to make tables."""
    cluster = postgresql.cluster
    cluster_urls = [cluster.url("garage_none"), cluster.url("postgres", "nobody_here")]
    for each in [*cluster_urls, cluster.url("postgres")]:
        with pytest.raises(DatabaseDenied) as caught:
            await Storage.open(each)
        assert str(cluster.folder) in str(caught.value) or "schema" in str(caught.value)


async def test_a_full_disk_is_told(postgresql: Server, small_disk: Path) -> None:
    """A write without room fails typed, takes nothing along, and works when there is room."""
    cluster = postgresql.cluster
    with cluster.database(postgresql.template) as made:
        name = made.partition("?")[0].rpartition("/")[2]
        make = f"CREATE TABLESPACE small LOCATION '{small_disk}'"
        cluster.run(make, f"ALTER DATABASE {name} SET TABLESPACE small")
        storage = await Storage.open(made)
        filler = small_disk / "filler"
        fill(filler)
        with pytest.raises(DiskFull):
            await add_many(storage)
        filler.unlink()
        await add(storage, "mbr_after")
        found = await ids(storage)
        await storage.close()
    cluster.run("DROP TABLESPACE small")
    assert "mbr_after" in found


@pytest.fixture
def small_disk(postgresql: Server) -> Iterator[Path]:
    """A file system of 24 MB that belongs to the server's user."""
    disk = postgresql.cluster.folder / "disk"
    owner = postgresql.cluster.data.stat()
    subprocess.run(["mkdir", disk], check=True)
    rights = f"size=24m,uid={owner.st_uid},gid={owner.st_gid},mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", rights, "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


async def add_many(storage: Storage) -> None:
    for number in range(10_000):
        await add(storage, f"mbr_{number}", "x" * 200)


def fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            pass
