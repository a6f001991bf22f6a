"""PostgreSQL: a server that several gateways share, on one machine or on many."""

import select
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    String,
    Table,
    event,
    func,
    literal_column,
    make_url,
    text,
)
from sqlalchemy import select as select_rows
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.sql.dml import Insert, Update
from sqlalchemy.types import TypeEngine

from garage_ai.storage.changes import Change, RowChange, RowLock
from garage_ai.storage.errors import (
    DatabaseLocked,
    DatabaseUnreachable,
    InvalidDatabaseUrl,
    StorageError,
    StorageFailed,
    ValueRefused,
)
from garage_ai.storage.postgresql_errors import kind_of, named

SCHEMES: Final = ("postgresql", "postgres")

_DRIVER: Final = "postgresql+asyncpg://"

CONNECT_SECONDS: Final = 5.0
LOCK_SECONDS: Final = 5.0
"""How long a statement waits for another transaction's lock; ours hold one for milliseconds."""
STATEMENT_SECONDS: Final = 10.0
"""Longest statement: the gateway gives up its transaction after the same time."""
IDLE_SECONDS: Final = 15.0
"""After so long the server ends the transaction of a gateway that fell silent within it."""

_READERS: Final = 4
_WRITERS: Final = 4
"""Connections for writing: acts that take turns have one, the ends of requests the rest."""

_TURN: Final = int.from_bytes(b"garage")
"""The advisory lock that transactions `in_turn` hold: a number nobody else would choose."""

_UNDER_WAY: Final = text(
    "SELECT pg_snapshot_xmin(now.it)::text, pg_snapshot_xmax(now.it)::text"
    " FROM (SELECT pg_current_snapshot() AS it) AS now"
)

_KEEPALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""A server that is gone without a word, behind a firewall, is noticed within a minute."""

_PARAMETERS: Final = frozenset(
    {
        "host",
        "passfile",
        "port",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslmode",
        "sslrootcert",
        "target_session_attrs",
    }
)
_SSL_MODES: Final = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})

_SETTINGS: Final = {
    "application_name": "garage-ai",
    "timezone": "UTC",  # days are days in UTC on every database
    "statement_timeout": f"{STATEMENT_SECONDS:.0f}s",
    "lock_timeout": f"{LOCK_SECONDS:.0f}s",
    "idle_in_transaction_session_timeout": f"{IDLE_SECONDS:.0f}s",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}

_ARRAYS: Final[tuple[tuple[type[TypeEngine[Any]], str], ...]] = (
    (String, "text"),
    (Boolean, "boolean"),
    (Integer, "bigint"),
    (Float, "double precision"),
    (DateTime, "timestamptz"),
    (LargeBinary, "bytea"),
)


class _Inexact(Exception):
    """A change did not write just as many rows as it has."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """One prepared statement for any number of rows: each column is an array.

    `turns` says of the columns, by their place, how a value of ours becomes one of the driver's.
    """

    sql: str
    columns: int
    turns: tuple[tuple[int, Callable[[Any], Any]], ...]

    def arrays(self, rows: Sequence[Iterable[object]]) -> list[list[object]]:
        """Give the rows' values column by column. Raises: ValueRefused."""
        columns = [list(column) for column in zip(*rows, strict=True)]
        try:
            for place, turn in self.turns:
                columns[place] = [turn(value) for value in columns[place]]
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueRefused(type(error).__name__) from error
        return columns

    def change(self, rows: Sequence[Iterable[object]]) -> Change:
        """Bind rows for `write_exactly`. Raises: ValueRefused."""
        return Change(len(rows), ((self.sql, (self.arrays(rows),)),) if rows else ())

    async def add(self, connection: AsyncConnection, rows: Sequence[Iterable[object]]) -> int:
        """Write rows in the transaction that is under way; give how many were not there yet.

        Raises: StorageError.
        """
        arrays = tuple(self.arrays(rows))
        return (await connection.exec_driver_sql(self.sql, arrays)).rowcount


class Postgresql:
    """A database on a PostgreSQL server, at an address as libpq understands it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.place = _checked(url)

    def prepare(self) -> None:
        """Make nothing: a server's database is made by whoever runs the server."""

    def writer(self) -> AsyncEngine:
        """Open the engine of a few writing connections; a commit there is flushed to the disk.

        A row that two of them change is locked by the first; a rule over several rows is for
        `take_turn`.
        """
        return self._engine(
            _WRITERS, default_transaction_isolation="read committed", synchronous_commit="on"
        )

    def reader(self) -> AsyncEngine:
        """Open the engine of a few connections that cannot write and see one state each time."""
        return self._engine(
            _READERS,
            default_transaction_isolation="repeatable read",
            default_transaction_read_only="on",
        )

    def _engine(self, size: int, **settings: str) -> AsyncEngine:
        async def connect() -> object:
            return await self._connect(_SETTINGS | settings)

        engine = create_async_engine(
            _DRIVER,
            async_creator=connect,  # so that no URL with a password is in anything of SQLAlchemy's
            pool_size=size,
            max_overflow=0,
            pool_timeout=LOCK_SECONDS,
            hide_parameters=True,  # digests of secrets belong in no log
        )
        event.listen(engine.sync_engine, "checkout", _refuse_dead)
        return engine

    async def _connect(self, settings: dict[str, str]) -> object:
        import asyncpg

        try:
            connection = await asyncpg.connect(
                self._url, timeout=CONNECT_SECONDS, server_settings=settings
            )
        except OSError as error:  # before ValueError: a refused certificate is both
            raise _at(self.place, error) from error
        except (asyncpg.ClientConfigurationError, ValueError) as error:
            # Their words may hold what stood at the place of a password.
            raise InvalidDatabaseUrl(f"PostgreSQL's driver refuses it: {kind_of(error)}") from None
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise _at(self.place, error) from error
        _keep_alive(connection)
        return connection

    def allow(self, connection: Connection, seconds: float) -> None:
        """Let this transaction take longer than the server's settings say."""
        limit = f"{seconds:.0f}s"
        names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        connection.execute(select_rows(*(func.set_config(name, limit, True) for name in names)))

    def under_way(self, connection: Connection) -> tuple[int, int]:
        """Number the oldest write that has not ended, and the next one to begin."""
        oldest, coming = connection.execute(_UNDER_WAY).one()
        return int(oldest), int(coming)

    def take_turn(self, connection: Connection) -> None:
        """Hold the one advisory lock until the transaction ends."""
        connection.execute(text("SELECT pg_advisory_xact_lock(:turn)"), {"turn": _TURN})

    def renumber(self, connection: Connection, table: Table) -> None:
        """Set the sequence behind a numbered column to the highest number there is."""
        column = table.autoincrement_column
        if column is None or not isinstance(column.type, Integer):
            return
        sequence = func.pg_get_serial_sequence(table.name, column.name)
        following = func.coalesce(func.max(column), 0) + 1
        connection.execute(select_rows(func.setval(sequence, following, False)))

    def insert_new(self, table: Table) -> Insert:
        """Write an insert that passes over rows that are there already."""
        return postgresql_insert(table).on_conflict_do_nothing()

    def new_rows(self, table: Table, columns: Sequence[str]) -> _Rows:
        """Compile an insert of several rows that passes over those that are there already."""
        dialect = make_url(_DRIVER).get_dialect()()
        quoted = dialect.identifier_preparer
        names = ", ".join(quoted.quote(name) for name in columns)
        types = [table.c[name].type.dialect_impl(dialect) for name in columns]
        arrays = ", ".join(f"${place}::{_array(each)}[]" for place, each in enumerate(types, 1))
        sql = (
            f"INSERT INTO {quoted.format_table(table)} ({names})"  # noqa: S608 - names of ours
            f" SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING"
        )
        turns = ((place, each.bind_processor(dialect)) for place, each in enumerate(types))
        return _Rows(sql, len(columns), tuple((at, turn) for at, turn in turns if turn is not None))

    def row_change(self, statement: Update, names: Sequence[str]) -> RowChange:
        """Compile an update of one row, whose values come in the order of `names`."""
        counted: Update = statement.returning(literal_column("1"))
        return RowChange.of(counted, names, make_url(_DRIVER).get_dialect()())

    def row_lock(self, key: Column[str]) -> RowLock:
        """Compile the locking of rows, in the order of their keys as the server sorts them."""
        rows = f"{key.table.name} WHERE {key.name} = ANY($1::text[])"
        return RowLock(f"SELECT FROM {rows} ORDER BY {key.name} FOR UPDATE")

    async def write_exactly(self, connection: AsyncConnection, changes: Sequence[Change]) -> bool:
        """Make changes in a transaction of their own, if each writes just as many rows as it has.

        They are made, and rows are locked, in the order given. Raises: StorageError.
        """
        async with _driver(connection) as driver:
            try:
                async with driver.transaction():
                    for change in changes:
                        if await _written(driver, change) != change.rows:
                            raise _Inexact
            except _Inexact:
                return False
        return True

    def translate(self, error: SQLAlchemyError) -> StorageError:
        """Say in our words what the server or its driver said."""
        if isinstance(error, PoolTimeout):
            return DatabaseLocked("every connection of this process is busy")
        cause = error.orig if isinstance(error, StatementError) and error.orig else error
        told = named(cause.__cause__ or cause)
        if isinstance(told, StorageFailed) and isinstance(error, DBAPIError):
            return DatabaseUnreachable(str(told)) if error.connection_invalidated else told
        return told


@asynccontextmanager
async def _driver(connection: AsyncConnection) -> AsyncIterator[Any]:
    """Give the driver's own connection; one that is cut off in its middle is not used again."""
    driver = (await connection.get_raw_connection()).driver_connection
    if driver is None:
        raise AssertionError("a connection of the pool without one of the driver")
    try:
        yield driver
    except Exception as error:
        if driver.is_closed():
            await connection.invalidate()
        raise named(error) from error
    except BaseException:
        # Whether the server still works on it nobody knows.
        await connection.invalidate()
        raise


async def _written(driver: Any, change: Change) -> int:
    """Make a change and give how many rows it wrote; of many runs, each returns its row."""
    written = 0
    for sql, values in change.runs:
        if len(values) == 1:
            written += _count(await driver.execute(sql, *values[0]))
        else:
            written += len(await driver.fetchmany(sql, values))
    return written


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])


def _checked(url: str) -> str:
    """Give the server's name as it may stand in a message. Raises: InvalidDatabaseUrl."""
    try:
        parts = urlsplit(url)
        query = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
    except ValueError as error:
        raise InvalidDatabaseUrl(f"not a PostgreSQL URL: {kind_of(error)}") from None
    unknown = sorted(set(query) - _PARAMETERS)
    if unknown:
        raise InvalidDatabaseUrl(f"PostgreSQL's URL may say {', '.join(sorted(_PARAMETERS))} only")
    if not set(query.get("sslmode", ())) <= _SSL_MODES:
        raise InvalidDatabaseUrl(f"sslmode is one of {', '.join(sorted(_SSL_MODES))}")
    if len(parts.path) < 2:
        raise InvalidDatabaseUrl("PostgreSQL's URL ends in the name of a database: …HOST/DATABASE")
    return f"PostgreSQL at {parts.netloc.rpartition('@')[2] or query.get('host', ['this host'])[0]}"


def _at(place: str, error: BaseException) -> StorageError:
    """Say why there is no connection; a refused name is another matter than no answer."""
    if isinstance(error, TimeoutError):
        return DatabaseUnreachable(f"{place}: no answer in {CONNECT_SECONDS:g} s")
    if isinstance(error, OSError):
        return DatabaseUnreachable(f"{place}: {error.strerror or error}")
    told = named(error)
    kind = DatabaseUnreachable if isinstance(told, StorageFailed) else type(told)
    return kind(f"{place}: {told}")


def _array(kind: TypeEngine[Any]) -> str:
    plain = getattr(kind, "impl_instance", kind)
    for known, name in _ARRAYS:
        if isinstance(plain, known):
            return name
    raise AssertionError(f"rows of {kind!r} are not written in groups")


def _refuse_dead(connection: Any, _record: object, _proxy: object) -> None:
    """Let the pool replace a connection whose server has gone away since it was used.

    An idle connection on which something waits to be read was told of its end, or has met it. To
    look at the socket costs a microsecond; a ping would go to the server and back three times.
    """
    driver = connection.driver_connection
    if driver.is_closed() or _readable(driver):
        raise DisconnectionError("the server has closed it")


def _readable(driver: Any) -> bool:
    endpoint = driver._transport.get_extra_info("socket")
    poll = select.poll()
    poll.register(endpoint.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _keep_alive(driver: Any) -> None:
    endpoint = driver._transport.get_extra_info("socket")
    if endpoint.family == socket.AF_UNIX:
        return
    endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        endpoint.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
