"""One open database: short transactions to read and to write, nothing else."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Final, Self

from sqlalchemy import Column, Table
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.dml import Insert, Update

from garage_ai.storage.changes import Change, RowChange, RowLock
from garage_ai.storage.dialect import Dialect, NewRows, dialect_for
from garage_ai.storage.errors import DatabaseLocked, StorageTimeout, ValueRefused
from garage_ai.storage.schema import is_current, upgrade

TRANSACTION_SECONDS: Final = 10.0
"""Longest transaction: twice the wait for another writer. Ours take milliseconds."""

_TURN_SECONDS: Final = 5.0
"""How long a block waits for others of its process that have the turn."""
_LOOK_SECONDS: Final = 0.02
_MIGRATION_SECONDS: Final = 600.0
_IN_TURN: Final = "gai_in_turn"


class Storage:
    """Everything a process keeps in SQL; open one and close it at the end.

    A transaction is short: it is never held over a stream or a call to another machine. What
    leaves `write()` without an error is on the disk. What leaves it with StorageTimeout, or by
    cancellation, may have been committed or not; any other error means that it was not.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._reader = dialect.reader()
        self._writer = dialect.writer()
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, url: str) -> Self:
        """Open a database and bring its tables up to date.

        `url` is `sqlite:///FILE` (a fourth slash makes it absolute) or
        `postgresql://USER:PASSWORD@HOST/DATABASE`. Raises: StorageError.
        """
        dialect = dialect_for(url)
        await asyncio.to_thread(dialect.prepare)
        storage = cls(dialect)
        try:
            await storage._migrate()
        except BaseException:
            await storage.close()
            raise
        return storage

    async def close(self) -> None:
        """Close every connection."""
        await self._reader.dispose()
        await self._writer.dispose()

    @asynccontextmanager
    async def read(
        self, timeout: float = TRANSACTION_SECONDS, *, each: bool = False
    ) -> AsyncIterator[AsyncConnection]:
        """Read one consistent state of the database; cannot write.

        `timeout` bounds the whole block, or with `each` every statement of it alone, by the server.
        Raises: StorageError.
        """
        async with self._transaction(self._reader, timeout, each=each) as connection:
            yield connection

    @asynccontextmanager
    async def write(
        self,
        timeout: float = TRANSACTION_SECONDS,
        *,
        each: bool = False,
        in_turn: bool = False,
    ) -> AsyncIterator[AsyncConnection]:
        """Write all of the block or nothing of it; `timeout` and `each` are as those of `read`.

        `in_turn` is for a rule over several rows, which no constraint can hold: no other block
        with it runs at the same time, in any process. Raises: StorageError.
        """
        # Of the few connections one alone waits for another process's turn: the rest write on.
        first = self._own_turn() if in_turn else nullcontext()
        async with self._transaction(self._writer, timeout, first, each=each) as connection:
            if in_turn:
                await connection.run_sync(self._dialect.take_turn)
                await connection.execution_options(**{_IN_TURN: True})
            yield connection

    async def writes_ended(self) -> None:
        """Wait until every write that is under way now has ended, if it is one of `write()`'s.

        Rows are numbered before they are committed: only then is it known that none is to come
        below a number that was seen. Raises: StorageError.
        """
        waited, begun = 0.0, None
        while waited < TRANSACTION_SECONDS:
            async with self.read() as connection:
                oldest, coming = await connection.run_sync(self._dialect.under_way)
            begun = coming if begun is None else begun
            if oldest >= begun:
                return
            await asyncio.sleep(_LOOK_SECONDS)
            waited += _LOOK_SECONDS

    def is_in_turn(self, connection: AsyncConnection) -> bool:
        """Tell whether a transaction of `write` has waited for its turn."""
        options = connection.sync_connection and connection.sync_connection.get_execution_options()
        return bool(options and options.get(_IN_TURN))

    def insert_new(self, table: Table) -> Insert:
        """Write an insert that passes over rows whose key is there already."""
        return self._dialect.insert_new(table)

    def new_rows(self, table: Table, columns: Sequence[str]) -> NewRows:
        """Compile an insert of many rows, given as values in this order."""
        return self._dialect.new_rows(table, columns)

    def row_change(self, statement: Update, names: Sequence[str]) -> RowChange:
        """Compile an update of one row, given as values in this order, for `write_exactly`."""
        return self._dialect.row_change(statement, names)

    def row_lock(self, key: Column[str]) -> RowLock:
        """Compile the locking of rows by their keys, in order, for `write_exactly`."""
        return self._dialect.row_lock(key)

    async def write_exactly(self, changes: Sequence[Change]) -> bool:
        """Make changes in a transaction of their own, if each writes just as many rows as it has.

        Gives False, and writes nothing at all, where one did not. What `write()` would do, without
        its price. Raises: StorageError.
        """
        some = [change for change in changes if change.rows]
        async with self._translated(TRANSACTION_SECONDS), self._writer.connect() as connection:
            return await self._dialect.write_exactly(connection, some)

    async def _migrate(self) -> None:
        async with self.read() as connection:
            if await connection.run_sync(is_current):
                return
        # Two processes may both come here; the second finds the work done.
        async with self.write(timeout=_MIGRATION_SECONDS, in_turn=True) as connection:
            await connection.run_sync(upgrade)

    @asynccontextmanager
    async def _own_turn(self) -> AsyncIterator[None]:
        """Keep others of this process from the turn. Raises: DatabaseLocked."""
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                await self._turn.acquire()
        except TimeoutError as error:
            raise DatabaseLocked("others of this process have the turn") from error
        try:
            yield
        finally:
            self._turn.release()

    @asynccontextmanager
    async def _transaction(
        self,
        engine: AsyncEngine,
        seconds: float,
        first: AbstractAsyncContextManager[None] | None = None,
        *,
        each: bool,
    ) -> AsyncIterator[AsyncConnection]:
        limit = self._translated(None if each else seconds)
        async with limit, first or nullcontext(), engine.begin() as connection:
            if seconds > TRANSACTION_SECONDS:
                await connection.run_sync(self._dialect.allow, seconds)
            yield connection

    @asynccontextmanager
    async def _translated(self, seconds: float | None) -> AsyncIterator[None]:
        """Bound the block's time, and say in our words what the database said in it."""
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                yield
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise StorageTimeout(f"no end of a transaction after {seconds:g} s") from error
        except SQLAlchemyError as error:
            raise self._dialect.translate(error) from error
        except (OverflowError, UnicodeEncodeError) as error:
            # The driver's own word for a number of more than 64 bits and half a surrogate pair.
            raise ValueRefused(type(error).__name__) from error
