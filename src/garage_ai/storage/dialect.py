"""The narrow point where one database differs from another.

Nothing above this module holds SQL that only one of them understands. Another database is another
class with these few members.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from sqlalchemy import Column, Connection, Table, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.dml import Insert, Update

from garage_ai.storage.changes import Change, RowChange, RowLock
from garage_ai.storage.errors import InvalidDatabaseUrl, StorageError
from garage_ai.storage.postgresql import SCHEMES, Postgresql
from garage_ai.storage.sqlite import Sqlite

_EXPECTED = "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"


class NewRows(Protocol):
    """An insert of many rows, compiled once, that passes over those whose key is there."""

    def change(self, rows: Sequence[Iterable[object]]) -> Change:
        """Bind rows for `write_exactly`. Raises: ValueRefused."""
        ...

    async def add(self, connection: AsyncConnection, rows: Sequence[Iterable[object]]) -> int:
        """Write rows in the transaction that is under way; give how many were not there yet.

        Raises: StorageError.
        """
        ...


class Dialect(Protocol):
    """What storage asks of a database."""

    def prepare(self) -> None:
        """Make what must be there before the first connection; blocks. Raises: StorageError."""
        ...

    def reader(self) -> AsyncEngine:
        """Open the engine of connections that cannot write and see one state in a transaction."""
        ...

    def writer(self) -> AsyncEngine:
        """Open the engine of connections that write; a commit there is on the disk."""
        ...

    def allow(self, connection: Connection, seconds: float) -> None:
        """Let this transaction take longer than others may."""
        ...

    def under_way(self, connection: Connection) -> tuple[int, int]:
        """Number the oldest write that has not ended, and the next one to begin."""
        ...

    def take_turn(self, connection: Connection) -> None:
        """Wait until no other transaction that takes turns is under way."""
        ...

    def renumber(self, connection: Connection, table: Table) -> None:
        """Let new rows be numbered after those that were written with numbers of their own."""
        ...

    def insert_new(self, table: Table) -> Insert:
        """Write an insert that passes over rows whose key is there already."""
        ...

    def new_rows(self, table: Table, columns: Sequence[str]) -> NewRows:
        """Compile an insert of many rows, given as values in the order of `columns`."""
        ...

    def row_change(self, statement: Update, names: Sequence[str]) -> RowChange:
        """Compile an update of one row, whose values come in the order of `names`."""
        ...

    def row_lock(self, key: Column[str]) -> RowLock:
        """Compile the locking of rows, in the order of their keys as the database sees it."""
        ...

    async def write_exactly(self, connection: AsyncConnection, changes: Sequence[Change]) -> bool:
        """Make changes in a transaction of their own, if each writes just as many rows as it has.

        `connection` is the writer's, without a transaction. Raises: StorageError.
        """
        ...

    def translate(self, error: SQLAlchemyError) -> StorageError:
        """Say in our words what the database said; the values of the statement stay out of it."""
        ...


def sqlite_url(path: Path) -> str:
    """Give the URL of a database file; percent signs and the like in its path are escaped."""
    return f"sqlite:///{quote(str(path.absolute()))}"


def sqlite_file(url: str) -> Path | None:
    """Give the file that a URL names, None where it names a server. Raises: InvalidDatabaseUrl."""
    dialect = dialect_for(url)
    return dialect.path if isinstance(dialect, Sqlite) else None


def dialect_for(url: str) -> Dialect:
    """Choose the dialect of a database URL.

    `sqlite:///FILE` (absolute with a fourth slash) or `postgresql://USER:PASSWORD@HOST/DATABASE`.
    Raises: InvalidDatabaseUrl, which never shows the URL, since that may hold a password.
    """
    scheme = url.partition(":")[0]
    if scheme in SCHEMES:
        return Postgresql(url)
    if scheme != "sqlite":
        raise InvalidDatabaseUrl(f"not a database URL of this version; expected {_EXPECTED}")
    return _sqlite(url)


def _sqlite(url: str) -> Sqlite:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidDatabaseUrl(f"not a database URL; expected {_EXPECTED}") from error
    if parsed.database in {None, "", ":memory:"} or parsed.query or parsed.host:
        raise InvalidDatabaseUrl("SQLite needs one file that survives: sqlite:///FILE")
    return Sqlite(Path(str(parsed.database)).absolute())


__all__ = ["Dialect", "NewRows", "dialect_for", "sqlite_file", "sqlite_url"]
