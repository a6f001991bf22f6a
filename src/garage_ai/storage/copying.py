"""A whole database as one SQLite file, and from there into either kind of database.

The file is of the revision that the database had, so that any later version can restore it. It is
also how a network moves from SQLite to PostgreSQL.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Connection, MetaData, delete, func, insert, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.storage.database import Storage
from garage_ai.storage.dialect import Dialect, dialect_for, sqlite_url
from garage_ai.storage.errors import (
    DatabaseNotEmpty,
    DatabaseUnreachable,
    ForeignDatabase,
)
from garage_ai.storage.schema import revision_of, upgrade
from garage_ai.storage.sqlite import Sqlite
from garage_ai.storage.tables import files, metadata

COPY_SECONDS: Final = 3600.0
"""Longest statement of a copy: it counts a table or moves a few rows. The whole may take hours."""

_TOGETHER: Final = 500
"""Rows that are held in memory and sent at once."""


async def copy_out(url: str, file: Path) -> str:
    """Write the database as it is at one moment into a new SQLite file; gives its revision.

    Gateways may run meanwhile. Raises: StorageError.
    """
    dialect, copy = dialect_for(url), Sqlite(file)
    if isinstance(dialect, Sqlite):
        await asyncio.to_thread(_copy_file, dialect.path, file)
        async with _opened(copy) as storage, storage.read() as connection:
            revision = await connection.run_sync(_known_revision)
    else:
        await asyncio.to_thread(copy.prepare)
        async with _opened(dialect) as source, _opened(copy) as target:
            revision = await _copy_rows(source, target)
    await asyncio.to_thread(_close_file, file)
    return revision


def places_in(file: Path) -> set[str]:
    """Name the places of all files of batches that a copied database knows.

    Raises: StorageError.
    """
    address = f"file:{quote(str(file))}?mode=ro"
    with _in_our_words(file), closing(sqlite3.connect(address, uri=True)) as connection:
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (files.name,))
        if known.fetchone() is None:  # of a version that had none
            return set()
        found = connection.execute(f"SELECT {files.c.place.name} FROM {files.name}")  # noqa: S608
        return {str(place) for (place,) in found}


async def copy_in(file: Path, url: str) -> None:
    """Write all of a file, or nothing of it, into an empty database on a server.

    The file is of this version's revision: see `bring_up`. For SQLite it is the database itself.
    Raises: DatabaseNotEmpty, StorageError.
    """
    dialect = dialect_for(url)
    async with (
        _opened(Sqlite(file)) as source,
        _opened(dialect) as target,
        source.read(COPY_SECONDS, each=True) as reading,
        target.write(COPY_SECONDS, each=True, in_turn=True) as writing,
    ):
        await writing.run_sync(_refuse_full)
        await writing.run_sync(upgrade)
        await _pour(reading, writing, metadata)
        for table in metadata.sorted_tables:
            await writing.run_sync(dialect.renumber, table)


async def bring_up(file: Path) -> None:
    """Bring a file to this version's tables. Raises: SchemaTooNew, StorageError."""
    await (await Storage.open(sqlite_url(file))).close()
    await asyncio.to_thread(_close_file, file)


async def holds(url: str, file: Path) -> bool:
    """Tell whether a database has as many rows in each table as a file. Raises: StorageError."""
    async with (
        _opened(dialect_for(url)) as database,
        _opened(Sqlite(file)) as copy,
        database.read(COPY_SECONDS, each=True) as one,
        copy.read(COPY_SECONDS, each=True) as other,
    ):
        if await one.run_sync(revision_of) != await other.run_sync(revision_of):
            return False
        return await _counts(one) == await _counts(other)


async def is_empty(url: str) -> bool:
    """Tell whether nothing is in a database, or nowhere is one. Raises: StorageError."""
    dialect = dialect_for(url)
    if isinstance(dialect, Sqlite):
        return not await asyncio.to_thread(_is_there, dialect.path)
    async with _opened(dialect) as storage, storage.read() as connection:
        return await connection.run_sync(_is_empty)


@asynccontextmanager
async def _opened(dialect: Dialect) -> AsyncIterator[Storage]:
    """Open a database as it is, whatever its revision."""
    storage = Storage(dialect)
    try:
        yield storage
    finally:
        await storage.close()


async def _copy_rows(source: Storage, target: Storage) -> str:
    async with source.read(COPY_SECONDS, each=True) as reading:
        revision = await reading.run_sync(_known_revision)
        async with target.write(COPY_SECONDS, each=True) as writing:
            await writing.run_sync(upgrade, revision)
            # The tables of then: this version's may have grown beyond them.
            await _pour(reading, writing, await writing.run_sync(_reflected))
    return revision


async def _pour(reading: AsyncConnection, writing: AsyncConnection, tables: MetaData) -> None:
    for table in reversed(tables.sorted_tables):
        await writing.execute(delete(table))  # what the migrations put there
    for table in tables.sorted_tables:
        ordered = select(table).order_by(*table.primary_key)
        async with reading.stream(ordered) as rows:
            async for part in rows.mappings().partitions(_TOGETHER):
                await writing.execute(insert(table), [_portable(row) for row in part])


def _portable(row: Any) -> dict[str, object]:
    # SQLite's text may hold a NUL, PostgreSQL's may not.
    return {
        str(name): value.replace("\0", "\ufffd") if isinstance(value, str) else value
        for name, value in row.items()
    }


async def _counts(connection: AsyncConnection) -> list[int | None]:
    return [
        await connection.scalar(select(func.count()).select_from(table))
        for table in metadata.sorted_tables
    ]


def _reflected(connection: Connection) -> MetaData:
    tables = MetaData()
    tables.reflect(connection)
    tables.remove(tables.tables["alembic_version"])
    return tables


def _known_revision(connection: Connection) -> str:
    revision = revision_of(connection)
    if revision is None:
        raise ForeignDatabase("the database holds nothing of Garage AI")
    return revision


def _is_empty(connection: Connection) -> bool:
    return not inspect(connection).get_table_names()


def _refuse_full(connection: Connection) -> None:
    if not _is_empty(connection):
        raise DatabaseNotEmpty("the database holds tables already; give an empty one")


def _is_there(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _copy_file(path: Path, file: Path) -> None:
    """Copy with SQLite's online backup: in one step, so that no writer makes it begin anew."""
    if not _is_there(path):
        raise DatabaseUnreachable(f"{path}: there is no database")
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with (
        _in_our_words(path, file),
        closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(file)) as target,
    ):
        source.backup(target)


@contextmanager
def _in_our_words(*files: Path) -> Iterator[None]:
    """Say of which files SQLite complains, and of what."""
    try:
        yield
    except sqlite3.Error as error:
        told = Sqlite(files[0]).translate(error)
        raise type(told)(f"{' to '.join(map(str, files))}: {told}") from error


def _close_file(file: Path) -> None:
    """Leave one file without a WAL beside it, on the disk."""
    with _in_our_words(file), closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


__all__ = [
    "COPY_SECONDS",
    "bring_up",
    "copy_in",
    "copy_out",
    "holds",
    "is_empty",
    "places_in",
]
