"""Migrations build what the tables say, run once, and refuse what they do not know."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, MetaData, insert, inspect, select, text
from tests.databases import made_by

from garage_ai.storage import (
    OPERATOR,
    ForeignDatabase,
    SchemaTooNew,
    Storage,
    sqlite_url,
    usage_list,
)
from garage_ai.storage.dialect import dialect_for
from garage_ai.storage.schema import HEAD, MIGRATIONS
from garage_ai.storage.tables import members, metadata, nodes

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def differences(connection: Connection) -> list[object]:
    options = {"compare_type": True, "compare_server_default": True}
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, metadata))


async def test_migrations_build_the_tables(storage: Storage) -> None:
    """A migrated database and the tables agree to the last column, index and constraint."""
    async with storage.read() as connection:
        assert await connection.run_sync(differences) == []


def test_the_named_head_is_the_last_migration() -> None:
    """There is one line of migrations, its end is HEAD, and none can be undone."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [HEAD]
    assert not any(hasattr(script.module, "downgrade") for script in scripts.walk_revisions())


async def test_the_operator_is_there_from_the_start(storage: Storage) -> None:
    """The built-in member comes with the first migration."""
    async with storage.read() as connection:
        row = (await connection.execute(select(members))).one()
    assert (row.id, row.name) == (OPERATOR, "the operator of this network")


def revisions() -> list[str]:
    """Give every revision that there was, the oldest first."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config).walk_revisions()
    return [script.revision for script in scripts][::-1]


Rows = dict[str, list[tuple[object, ...]]]


def fill(connection: Connection) -> tuple[MetaData, Rows]:
    """Put a row into each table that there is; give the tables of then and all that is in them."""
    then = MetaData()
    then.reflect(connection)
    then.remove(then.tables["alembic_version"])
    for table in then.sorted_tables:
        if table.name != "members":
            row = {column.name: value_for(column) for column in table.c}
            connection.execute(insert(table).values(row))
    return then, content(connection, then)


def value_for(column: Column[Any]) -> object:
    """Make up a value; what points at a member or a node points at the first one."""
    if column.name == "member_id":
        return OPERATOR
    name = "id" if column.foreign_keys else column.name
    values = {str: f"a {name}"[:16], bytes: b"\0\xff" * 16, bool: True, datetime: NOON}
    return values.get(column.type.python_type, 7)


def content(connection: Connection, tables: MetaData) -> Rows:
    """Read all rows of these tables, in the columns that they had."""
    return {
        table.name: [tuple(row) for row in connection.execute(select(table))]
        for table in tables.sorted_tables
    }


@pytest.mark.parametrize("revision", revisions())
async def test_old_data_comes_along(empty_database: str, revision: str) -> None:
    """What a version of any age left is there after the migration, value by value."""
    engine = await made_by(empty_database, revision)
    async with engine.begin() as connection:
        then, before = await connection.run_sync(fill)
    await engine.dispose()
    assert all(before.values())
    storage = await Storage.open(empty_database)
    async with storage.read() as connection:
        assert await connection.run_sync(content, then) == before
        assert await connection.run_sync(differences) == []
    await storage.close()


async def test_who_was_let_in_before_the_rule_stays_let_in(empty_database: str) -> None:
    """Nodes enrolled when no sandbox was asked for serve on."""
    engine = await made_by(empty_database, "0001")
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO nodes (id, member_id, name, public_key, trust, created_at)"
                " VALUES ('n1', 'mbr_operator', 'pc', 'U1', 'unsandboxed', '2026-11-01 12:00:00')"
            )
        )
    await engine.dispose()
    storage = await Storage.open(empty_database)
    async with storage.read() as connection:
        moments = select(nodes.c.created_at, nodes.c.bare_allowed_at)
        rows = [tuple(row) for row in await connection.execute(moments)]
    await storage.close()
    assert rows == [(NOON, NOON)]


def bytes_of(path: Path) -> bytes:
    return path.read_bytes()


async def test_opening_again_changes_nothing(sqlite_file: Path) -> None:
    """A database that is up to date is left as it is."""
    before = bytes_of(sqlite_file)
    await (await Storage.open(sqlite_url(sqlite_file))).close()
    assert bytes_of(sqlite_file) == before


async def test_usage_of_an_older_database_is_kept(empty_database: str) -> None:
    """Records from before a migration are read as they were, and had one part."""
    engine = await made_by(empty_database, "0001")
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO usage (request_id, at, member_id, key_id, route, model, outcome,"
                " stream, content_events, bytes_out, duration_s, attempts) VALUES"
                " ('r', '2026-01-01 00:00:00', 'm', 'k', 'chat', 'x', 'ok', true, 5, 9, 0.5, 1)"
            )
        )
    await engine.dispose()
    storage = await Storage.open(empty_database)
    [record] = (await usage_list(storage)).records
    assert (record.request_id, record.content_events, record.parts) == ("r", 5, ())
    await storage.close()


async def run(url: str, *statements: str) -> None:
    """Do to a database what storage itself never would."""
    dialect = dialect_for(url)
    dialect.prepare()
    engine = dialect.writer()
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    await engine.dispose()


async def names(url: str) -> list[str]:
    engine = dialect_for(url).reader()
    async with engine.begin() as connection:
        found = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    await engine.dispose()
    return found


async def test_a_newer_database_is_refused(database: str) -> None:
    """An older version does not touch what a newer one wrote, and says what to do."""
    await run(database, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaTooNew, match="9999") as caught:
        await Storage.open(database)
    assert caught.value.code == "schema_too_new"


async def test_another_programs_database_is_refused(empty_database: str) -> None:
    """Tables of strangers are left alone."""
    await run(empty_database, "CREATE TABLE photos (id INTEGER)")
    with pytest.raises(ForeignDatabase, match="photos"):
        await Storage.open(empty_database)
    assert await names(empty_database) == ["photos"]


async def test_a_path_with_odd_characters_works(tmp_path: Path) -> None:
    """Spaces, percent signs and Swedish letters in a path are no trouble."""
    path = tmp_path / "50 % grå mapp" / "garage.db"
    await (await Storage.open(sqlite_url(path))).close()
    assert path.exists()


async def test_processes_that_start_together_migrate_once(empty_database: str) -> None:
    """Several processes over an empty database all come up, and the operator is there once."""
    code = (
        "import asyncio, sys; from garage_ai.storage import Storage\n"
        "async def main(): await (await Storage.open(sys.argv[1])).close()\n"
        "asyncio.run(main())"
    )
    children = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", code, empty_database)
        for _ in range(3)
    ]
    assert await asyncio.gather(*(asyncio.wait_for(c.wait(), 60) for c in children)) == [0, 0, 0]
    storage = await Storage.open(empty_database)
    async with storage.read() as connection:
        assert len((await connection.execute(select(members))).all()) == 1
    await storage.close()


async def test_a_migration_that_fails_leaves_nothing(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that breaks in its middle is taken back, tables and all."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr("alembic.op.create_index", broken)
        with pytest.raises(RuntimeError, match="power cut"):
            await Storage.open(empty_database)
    assert await names(empty_database) == []
    await (await Storage.open(empty_database)).close()
