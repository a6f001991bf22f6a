"""What an operator does with a database while nobody looks: bring it up to date, look it over."""

from dataclasses import dataclass
from typing import Final

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import (
    Connection,
    ForeignKeyConstraint,
    Table,
    Text,
    cast,
    exists,
    func,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.storage.copying import is_empty
from garage_ai.storage.database import Storage
from garage_ai.storage.dialect import dialect_for
from garage_ai.storage.errors import DatabaseCorrupt, DatabaseUnreachable, StorageError
from garage_ai.storage.schema import HEAD, revision_of, upgrade
from garage_ai.storage.sqlite import Sqlite
from garage_ai.storage.tables import metadata

UPKEEP_SECONDS: Final = 3600.0

_MANY: Final = 20


@dataclass(frozen=True, slots=True)
class Upgrade:
    """From which revision a database came to which; `before` is None where there was nothing."""

    before: str | None
    after: str

    @property
    def is_idle(self) -> bool:
        """Whether there was nothing to do."""
        return self.before == self.after


@dataclass(frozen=True, slots=True)
class Examination:
    """What a look at a database found; `rows` by table, of the tables that could be read."""

    revision: str | None
    newest: str
    rows: dict[str, int]
    problems: tuple[str, ...]


async def upgrade_database(url: str) -> Upgrade:
    """Bring a database to this version's tables. Raises: StorageError."""
    dialect = dialect_for(url)
    dialect.prepare()
    storage = Storage(dialect)
    try:
        async with storage.write(UPKEEP_SECONDS, in_turn=True) as connection:
            before = await connection.run_sync(revision_of)
            await connection.run_sync(upgrade)
    finally:
        await storage.close()
    return Upgrade(before, HEAD)


async def examine(url: str) -> Examination:
    """Read all of a database: its revision, every row, every reference.

    Raises: StorageError where it cannot be opened at all.
    """
    dialect = dialect_for(url)
    if isinstance(dialect, Sqlite) and await is_empty(url):
        raise DatabaseUnreachable(f"{dialect.path}: there is no database")
    storage = Storage(dialect)
    try:
        async with storage.read(UPKEEP_SECONDS) as connection:
            revision = await connection.run_sync(revision_of)
        if revision != HEAD:
            return Examination(revision, HEAD, {}, (_of_revision(revision),))
        problems: list[str] = []
        if isinstance(dialect, Sqlite):
            problems += await _pages(storage)
        rows = await _rows(storage, problems)
        async with storage.read(UPKEEP_SECONDS) as connection:
            problems += await connection.run_sync(_shape)
        return Examination(revision, HEAD, rows, tuple(problems))
    finally:
        await storage.close()


def _of_revision(revision: str | None) -> str:
    if revision is None:
        return "holds nothing of Garage AI"
    return f"is of revision {revision}, this version's is {HEAD}"


async def _pages(storage: Storage) -> list[str]:
    """Let SQLite look at every page and every index."""
    try:
        async with storage.read(UPKEEP_SECONDS) as connection:
            found = await connection.scalars(text(f"PRAGMA integrity_check({_MANY})"))
            return [str(line) for line in found if line != "ok"]
    except DatabaseCorrupt as error:
        return [str(error)]


async def _rows(storage: Storage, problems: list[str]) -> dict[str, int]:
    """Read every row, a table at a time, so that one bad table hides no other."""
    rows: dict[str, int] = {}
    for table in metadata.sorted_tables:
        try:
            async with storage.read(UPKEEP_SECONDS) as connection:
                rows[table.name] = await _read_all(connection, table)
                for key in table.foreign_key_constraints:
                    problems += await _orphans(connection, key)
        except StorageError as error:
            problems.append(f"table {table.name} cannot be read: {error}")
    return rows


async def _read_all(connection: AsyncConnection, table: Table) -> int:
    # The database reads each value; only a few numbers come back.
    lengths = (func.sum(func.length(cast(column, Text))) for column in table.c)
    row = (await connection.execute(select(func.count(), *lengths).select_from(table))).one()
    return int(row[0])


async def _orphans(connection: AsyncConnection, key: ForeignKeyConstraint) -> list[str]:
    """Count rows that point at nothing."""
    pairs = [(element.parent, element.column) for element in key.elements]
    there = exists().where(*(column == child for child, column in pairs))
    told = [child.is_not(None) for child, _ in pairs]
    lost = select(func.count()).select_from(key.table).where(*told, ~there)
    count = await connection.scalar(lost)
    name = f"{key.table.name}.{', '.join(key.column_keys)}"
    return [f"{count} rows of {name} point at nothing"] if count else []


def _shape(connection: Connection) -> list[str]:
    """Compare tables, columns, indexes and constraints with what this version has."""
    options = {"compare_type": True, "compare_server_default": True}
    context = MigrationContext.configure(connection, opts=options)
    return [f"differs: {difference}" for difference in compare_metadata(context, metadata)]


__all__ = ["Examination", "Upgrade", "examine", "upgrade_database"]
