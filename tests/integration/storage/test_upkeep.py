"""Upgrades tell from where to where, and a look at a database finds what is wrong with it."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.databases import Server, made_by

from garage_ai.storage import (
    DatabaseCorrupt,
    DatabaseUnreachable,
    ForeignDatabase,
    SchemaTooNew,
    Storage,
    sqlite_url,
)
from garage_ai.storage.dialect import dialect_for
from garage_ai.storage.schema import HEAD
from garage_ai.storage.upkeep import Upgrade, examine, upgrade_database

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


async def run(url: str, *statements: str) -> None:
    """Do to a database what no gateway would."""
    engine = dialect_for(url).writer()
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    await engine.dispose()


async def test_an_upgrade_tells_from_where_to_where(empty_database: str) -> None:
    """From an older version's tables, from nothing, and from this version's."""
    await (await made_by(empty_database, "0002")).dispose()
    assert await upgrade_database(empty_database) == Upgrade("0002", HEAD)
    again = await upgrade_database(empty_database)
    assert (again, again.is_idle) == (Upgrade(HEAD, HEAD), True)


async def test_an_upgrade_may_begin_with_nothing(empty_database: str) -> None:
    """Then all tables are made."""
    assert await upgrade_database(empty_database) == Upgrade(None, HEAD)
    assert (await examine(empty_database)).problems == ()


async def test_another_programs_tables_are_left_alone(empty_database: str) -> None:
    """Neither an upgrade nor a look takes them for ours."""
    dialect_for(empty_database).prepare()
    await run(empty_database, "CREATE TABLE photos (id INTEGER)")
    with pytest.raises(ForeignDatabase):
        await upgrade_database(empty_database)
    assert (await examine(empty_database)).problems == ("holds nothing of Garage AI",)


async def test_a_newer_database_is_left_alone(database: str) -> None:
    """An upgrade never goes backwards."""
    await run(database, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaTooNew):
        await upgrade_database(database)
    assert (await examine(database)).problems == (f"is of revision 9999, this version's is {HEAD}",)


async def test_a_sound_database_is_told(database: str) -> None:
    """With its revision and how many rows each table has."""
    found = await examine(database)
    assert (found.revision, found.problems) == (HEAD, ())
    assert (found.rows["members"], found.rows["usage"]) == (1, 0)


async def test_another_shape_is_told(database: str) -> None:
    """A missing index and a column too many are found, by name."""
    await run(database, "DROP INDEX ix_usage_at", "ALTER TABLE members ADD COLUMN shoe INTEGER")
    told = " ".join((await examine(database)).problems)
    assert "ix_usage_at" in told
    assert "shoe" in told


KEY = (
    "INSERT INTO keys (id, member_id, name, scopes, digest, created_at) VALUES"
    " ('key_a', 'mbr_nobody', 'x', 'admin', 'd', '2026-11-01 12:00:00')"
)


async def test_rows_that_point_at_nothing_are_told(
    database: str, request: pytest.FixtureRequest
) -> None:
    """As a database has them that was written to without its rules."""
    if database.startswith("sqlite"):
        with closing(sqlite3.connect(request.getfixturevalue("sqlite_file"))) as connection:
            connection.execute(KEY)
            connection.commit()
    else:
        server: Server = request.getfixturevalue("postgresql")
        name = database.partition("?")[0].rpartition("/")[2]
        careless = "SET session_replication_role = replica"
        server.cluster.run(f"{careless}; {KEY}", database=name)
    assert (await examine(database)).problems == ("1 rows of keys.member_id point at nothing",)


def damage(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at : at + 4096] = b"\xff" * 4096
    file.write_bytes(content)


@pytest.mark.parametrize("part", range(6))
async def test_a_damaged_page_of_a_file_is_told(sqlite_file: Path, part: int) -> None:
    """Wherever it is, the database is not called sound."""
    pages = sqlite_file.stat().st_size // 4096  # noqa: ASYNC240 - a small file
    damage(sqlite_file, (1 + (pages - 2) * part // 5) * 4096)
    try:
        assert (await examine(sqlite_url(sqlite_file))).problems
    except DatabaseCorrupt:
        return


@pytest.mark.system
async def test_a_damaged_page_of_a_server_is_told(killable: Server) -> None:
    """The table is named, and the others are read all the same."""
    cluster = killable.cluster
    with cluster.database(killable.template) as url:
        storage = await Storage.open(url)
        async with storage.read() as connection:
            path = str(await connection.scalar(text("SELECT pg_relation_filepath('members')")))
        await storage.close()
        cluster.shut_down()
        damage(cluster.data / path, 0)
        cluster.start()
        found = await examine(url)
    assert any("table members cannot be read" in problem for problem in found.problems)
    assert "usage" in found.rows


async def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    """To look for a file does not make it."""
    with pytest.raises(DatabaseUnreachable):
        await examine(sqlite_url(tmp_path / "garage.db"))
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - an empty folder
