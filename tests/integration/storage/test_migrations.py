"""Migrations build what the tables say, run once, and refuse what they do not know."""

import asyncio
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, select

from garage_ai.storage import (
    OPERATOR,
    ForeignDatabase,
    SchemaTooNew,
    Storage,
    sqlite_url,
    usage_list,
)
from garage_ai.storage.schema import HEAD, MIGRATIONS
from garage_ai.storage.tables import members, metadata

pytestmark = pytest.mark.anyio


def differences(connection: Connection) -> list[object]:
    options = {"compare_type": True, "compare_server_default": True}
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, metadata))


async def test_migrations_build_the_tables(storage: Storage) -> None:
    """A migrated database and tables.py agree to the last column, index and constraint."""
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


def made_by(path: Path, revision: str) -> None:
    """Make a database as a version of that revision left it."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as old:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = old
        command.upgrade(config, revision)
    engine.dispose()


async def test_who_was_let_in_before_the_rule_stays_let_in(tmp_path: Path) -> None:
    """Nodes enrolled when no sandbox was asked for serve on; tokens made then ask for one."""
    path = tmp_path / "garage.db"
    made_by(path, "0001")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "INSERT INTO nodes (id, member_id, name, public_key, trust, created_at)"
            " VALUES ('n1', 'mbr_operator', 'pc', 'U1', 'unsandboxed', '2026-11-01 12:00:00')"
        )
        connection.commit()
    await (await Storage.open(sqlite_url(path))).close()
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT created_at, bare_allowed_at FROM nodes").fetchall()
    assert rows == [("2026-11-01 12:00:00", "2026-11-01 12:00:00")]


def content(path: Path) -> bytes:
    return path.read_bytes()


async def test_opening_again_changes_nothing(database: Path) -> None:
    """A database that is up to date is left as it is."""
    before = content(database)
    await (await Storage.open(sqlite_url(database))).close()
    assert content(database) == before


async def test_usage_of_an_older_database_is_kept(tmp_path: Path) -> None:
    """Records from before a migration are read as they were, and had one part."""
    database = tmp_path / "garage.db"
    made_by(database, "0001")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(
            "INSERT INTO usage (request_id, at, member_id, key_id, route, model, outcome, stream,"
            " content_events, bytes_out, duration_s, attempts)"
            " VALUES ('r', '2026-01-01 00:00:00', 'm', 'k', 'chat', 'x', 'ok', 1, 5, 9, 0.5, 1)"
        )
        connection.commit()
    storage = await Storage.open(sqlite_url(database))
    [record] = (await usage_list(storage)).records
    assert (record.request_id, record.content_events, record.parts) == ("r", 5, ())
    await storage.close()


async def test_a_newer_database_is_refused(database: Path) -> None:
    """An older version does not touch what a newer one wrote, and says what to do."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(SchemaTooNew, match="9999") as caught:
        await Storage.open(sqlite_url(database))
    assert caught.value.code == "schema_too_new"


async def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    """Tables of strangers are left alone."""
    path = tmp_path / "photos.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE photos (id INTEGER)")
    with pytest.raises(ForeignDatabase, match="photos"):
        await Storage.open(sqlite_url(path))
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert names == [("photos",)]


async def test_a_path_with_odd_characters_works(tmp_path: Path) -> None:
    """Spaces, percent signs and Swedish letters in a path are no trouble."""
    path = tmp_path / "50 % grå mapp" / "garage.db"
    await (await Storage.open(sqlite_url(path))).close()
    assert path.exists()


async def test_processes_that_start_together_migrate_once(tmp_path: Path) -> None:
    """Several processes over a new file all come up, and the operator is there once."""
    path = tmp_path / "garage.db"
    code = (
        "import asyncio, sys; from garage_ai.storage import Storage\n"
        "async def main(): await (await Storage.open(sys.argv[1])).close()\n"
        "asyncio.run(main())"
    )
    children = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", code, sqlite_url(path))
        for _ in range(3)
    ]
    assert await asyncio.gather(*(asyncio.wait_for(c.wait(), 60) for c in children)) == [0, 0, 0]
    storage = await Storage.open(sqlite_url(path))
    async with storage.read() as connection:
        assert len((await connection.execute(select(members))).all()) == 1
    await storage.close()


async def test_a_migration_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that breaks in its middle is taken back, tables and all."""
    path = tmp_path / "garage.db"

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr("alembic.op.create_index", broken)
        with pytest.raises(RuntimeError, match="power cut"):
            await Storage.open(sqlite_url(path))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    await (await Storage.open(sqlite_url(path))).close()
