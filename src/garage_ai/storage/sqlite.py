"""SQLite: one file, one writer at a time, and no server to run."""

import os
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import URL, Column, Connection, Table, event
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolResetState
from sqlalchemy.sql.dml import Insert, Update
from sqlalchemy.types import TypeEngine

from garage_ai.storage.changes import Change, RowChange, RowLock
from garage_ai.storage.errors import (
    ConstraintViolated,
    DatabaseCorrupt,
    DatabaseLocked,
    DatabaseReadOnly,
    DatabaseUnreachable,
    DiskFull,
    StorageError,
    StorageFailed,
    ValueRefused,
)
from garage_ai.storage.tables.base import Utc

_AT_REST: Final = "gai_at_rest"

BUSY_SECONDS: Final = 5.0
"""How long a statement waits for another process's write; ours take milliseconds."""

_READERS: Final = 4

_BY_SQLITE_CODE: Final[dict[int, type[StorageError]]] = {
    sqlite3.SQLITE_CONSTRAINT: ConstraintViolated,
    sqlite3.SQLITE_BUSY: DatabaseLocked,
    sqlite3.SQLITE_LOCKED: DatabaseLocked,
    sqlite3.SQLITE_FULL: DiskFull,
    sqlite3.SQLITE_READONLY: DatabaseReadOnly,
    sqlite3.SQLITE_CORRUPT: DatabaseCorrupt,
    sqlite3.SQLITE_NOTADB: DatabaseCorrupt,
    sqlite3.SQLITE_CANTOPEN: DatabaseUnreachable,
    sqlite3.SQLITE_IOERR: DatabaseUnreachable,
}

_UNFIT: Final = (
    ValueError,
    TypeError,
    OverflowError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)
"""What Python and its driver raise for a value that cannot be bound to a statement."""


_MOST_BOUND: Final = 32_766 if sqlite3.sqlite_version_info >= (3, 32) else 999
"""Values in one statement (sqlite.org/limits.html)."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """An insert of several rows at once: SQL before the values, of one row and behind them.

    `turns` says of the columns, by their place, how a value of ours becomes one of the driver's;
    the values of other columns go as they are.
    """

    head: str
    row: str
    tail: str
    turns: tuple[tuple[int, Callable[[Any], Any]], ...]

    def sql(self, count: int) -> str:
        """Give the statement for so many rows."""
        return f"{self.head}{', '.join([self.row] * count)}{self.tail}"

    def bound(self, rows: Sequence[Iterable[object]]) -> list[object]:
        """Give the rows' values as the driver binds them, one after another.

        Raises: ValueRefused.
        """
        bound: list[object] = []
        try:
            for row in rows:
                start = len(bound)
                bound += row
                for place, turn in self.turns:
                    bound[start + place] = turn(bound[start + place])
        except _UNFIT as error:
            raise ValueRefused(type(error).__name__) from error
        return bound

    async def add(self, connection: AsyncConnection, rows: Sequence[Iterable[object]]) -> int:
        """Write rows in the transaction that is under way; give how many were not there yet.

        Raises: StorageError.
        """
        written = 0
        for sql, (values,) in self.change(rows).runs:
            written += (await connection.exec_driver_sql(sql, tuple(values))).rowcount
        return written

    def change(self, rows: Sequence[Iterable[object]]) -> Change:
        """Bind rows, as many in each statement as it can hold. Raises: ValueRefused."""
        most = _MOST_BOUND // self.row.count("?")
        parts = [rows[start : start + most] for start in range(0, len(rows), most)]
        runs = ((self.sql(len(part)), (self.bound(part),)) for part in parts)
        return Change(len(rows), tuple(runs))


def _turn(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """Give what makes a value of ours one of the driver's."""
    return as_text if isinstance(kind, Utc) else kind.dialect_impl(dialect).bind_processor(dialect)


def as_text(moment: datetime | None) -> str | None:
    """Write a moment as SQLAlchemy's own processor does, in a fifth of the time.

    Each request has three. Raises: ValueError for a naive one.
    """
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone cannot be stored")
    return moment.astimezone(UTC).isoformat(" ", "microseconds")[:26]


class Sqlite:
    """SQLite in one file, in WAL mode: one writer at a time, readers never wait for it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> None:
        """Make the file, readable by its owner alone; the WAL beside it inherits the mode.

        Blocks for a moment; at start only. Raises: StorageError.
        """
        self._make_private()
        try:
            self._choose_wal()
        except sqlite3.Error as error:
            raise _translate(error) from error

    def _make_private(self) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.fchmod(descriptor, 0o600)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise DatabaseUnreachable(f"{self.path}: {error.strerror}") from error

    def _choose_wal(self) -> None:
        # The change of mode answers "busy" without waiting when two processes meet over a new
        # file (sqlite.org/wal.html), so it is tried again here. The mode stays in the file.
        deadline = time.monotonic() + BUSY_SECONDS
        with closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS)) as connection:
            while True:
                try:
                    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
                    break
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                        raise
                    time.sleep(random.uniform(0.01, 0.05))  # noqa: S311 - jitter, no secret
        if mode != "wal":
            raise DatabaseUnreachable(f"{self.path}: this file system has no shared memory for WAL")

    def writer(self) -> AsyncEngine:
        """Open the engine of the one writing connection: its pool is the queue of the writers.

        `synchronous=FULL`, since acknowledged means committed: with NORMAL a commit in WAL mode
        outlives a killed process but not a power cut. It costs one fsync a transaction, and the
        only frequent transactions here are groups of requests' ends.
        """
        engine = self._engine(size=1, reset=None)
        event.listen(engine.sync_engine, "reset", _roll_back)
        _on_connect(engine, "PRAGMA synchronous=FULL")
        # A transaction that begins by reading and then writes fails at once, without waiting,
        # when another process wrote in between (SQLITE_BUSY_SNAPSHOT). So writers say so first.
        _on_begin(engine, "BEGIN IMMEDIATE")
        return engine

    def reader(self) -> AsyncEngine:
        """Open the engine of a few connections that cannot write."""
        engine = self._engine(size=_READERS)
        _on_connect(engine, "PRAGMA query_only=ON")
        _on_begin(engine, "BEGIN")
        return engine

    def _engine(self, size: int, reset: Literal["rollback"] | None = "rollback") -> AsyncEngine:
        return create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(self.path)),
            pool_size=size,
            max_overflow=0,
            pool_timeout=BUSY_SECONDS,
            pool_reset_on_return=reset,
            connect_args={"timeout": BUSY_SECONDS},
            hide_parameters=True,  # digests of secrets belong in no log
        )

    def allow(self, connection: Connection, seconds: float) -> None:
        """Let a transaction take longer than usual; here nothing but the caller's clock ends it."""

    def under_way(self, _connection: Connection) -> tuple[int, int]:
        """Tell of none: one writes at a time, and rows are numbered as they are committed."""
        return 0, 0

    def take_turn(self, connection: Connection) -> None:
        """Make the transaction wait for others that take turns; here every writer does anyway."""

    def renumber(self, connection: Connection, table: Table) -> None:
        """Do nothing: SQLite numbers a row after the highest there is."""

    def insert_new(self, table: Table) -> Insert:
        """Write an insert that passes over rows that are there already."""
        return sqlite_insert(table).on_conflict_do_nothing()

    def new_rows(self, table: Table, columns: Sequence[str]) -> _Rows:
        """Compile an insert of several rows that passes over those that are there already."""
        dialect = sqlite_dialect(paramstyle="qmark")
        quoted = dialect.identifier_preparer
        names = ", ".join(quoted.quote(name) for name in columns)
        into = f"INSERT INTO {quoted.format_table(table)} ({names})"
        row = f"({', '.join('?' * len(columns))})"
        turns = ((place, _turn(table.c[name].type, dialect)) for place, name in enumerate(columns))
        known = tuple((place, turn) for place, turn in turns if turn is not None)
        return _Rows(f"{into} VALUES ", row, " ON CONFLICT DO NOTHING", known)

    def row_change(self, statement: Update, names: Sequence[str]) -> RowChange:
        """Compile an update of one row, whose values come in the order of `names`."""
        return RowChange.of(statement, names, sqlite_dialect(paramstyle="qmark"))

    def row_lock(self, key: Column[str]) -> RowLock:
        """Lock nothing: a writer is alone."""
        del key
        return RowLock(None)

    async def write_exactly(self, connection: AsyncConnection, changes: Sequence[Change]) -> bool:
        """Make changes in a transaction of their own, if each writes just as many rows as it has.

        All of it is one visit to the driver's thread, where SQLAlchemy would go there and back for
        each of eight steps a statement. Raises: StorageError.
        """
        async with _driver(connection) as driver:
            # What each of the driver's own methods is made of, and what none of them gives: to
            # stay in its thread for more than a statement.
            done: bool = await driver._execute(_write_exactly, driver._conn, changes)
        return done

    def translate(self, error: SQLAlchemyError | sqlite3.Error) -> StorageError:
        """Say in our words what the database said; the values of the statement stay out of it."""
        return _translate(error)


@asynccontextmanager
async def _driver(connection: AsyncConnection) -> AsyncIterator[Any]:
    """Give the driver's own connection, for what leaves no transaction behind."""
    pooled = await connection.get_raw_connection()
    if pooled.driver_connection is None:
        raise AssertionError("a connection of the pool without one of the driver")
    try:
        yield pooled.driver_connection
    except sqlite3.Error as error:
        raise _translate(error) from error
    pooled.info[_AT_REST] = True


def _write_exactly(connection: sqlite3.Connection, changes: Sequence[Change]) -> bool:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for change in changes:
            if sum(connection.executemany(*run).rowcount for run in change.runs) != change.rows:
                return False
        connection.execute("COMMIT")
        return True
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _translate(error: SQLAlchemyError | sqlite3.Error) -> StorageError:
    if isinstance(error, PoolTimeout):
        return DatabaseLocked("every connection of this process is busy")
    cause = error.orig if isinstance(error, StatementError) else error
    # The lower byte is the kind; the upper ones only refine it (sqlite.org/rescode.html).
    number = getattr(cause, "sqlite_errorcode", None)
    kind = _BY_SQLITE_CODE.get(number & 0xFF) if isinstance(number, int) else None
    if kind is not None:
        return kind(str(cause))
    if isinstance(cause, _UNFIT):
        return ValueRefused(type(cause).__name__)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return DatabaseUnreachable(str(cause))
    return StorageFailed(f"{type(cause).__name__}: {cause}")


def _roll_back(
    connection: DBAPIConnection, record: ConnectionPoolEntry, state: PoolResetState
) -> None:
    """End what a connection that comes back has left open, unless it is known to be nothing."""
    at_rest = record.info.pop(_AT_REST, False)
    if state.asyncio_safe and not (at_rest or state.transaction_was_reset):
        connection.rollback()


def _on_connect(engine: AsyncEngine, *pragmas: str) -> None:
    def configure(connection: DBAPIConnection, _record: object) -> None:
        # The driver's own implicit transactions begin too late; `_on_begin` does it instead.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("PRAGMA foreign_keys=ON", *pragmas):
            cursor.execute(pragma)
        cursor.close()

    event.listen(engine.sync_engine, "connect", configure)


def _on_begin(engine: AsyncEngine, statement: str) -> None:
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)

    event.listen(engine.sync_engine, "begin", begin)
