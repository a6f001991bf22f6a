"""How PostgreSQL's errors are named, and what a group of rows is made of."""

from datetime import UTC, datetime, timedelta, timezone

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from garage_ai.storage import StorageError, ValueRefused
from garage_ai.storage.postgresql import Postgresql
from garage_ai.storage.tables import usage
from garage_ai.storage.usage_rows import _COLUMNS

POSTGRESQL = Postgresql("postgresql://garage@db/garage")
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def told(cause: Exception) -> StorageError:
    """Give what storage says where SQLAlchemy wraps what the driver raised."""
    wrapped = Exception("as a DB-API error")
    wrapped.__cause__ = cause
    return POSTGRESQL.translate(DBAPIError("INSERT", {"digest": "secret"}, wrapped))


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("08006", "database_unreachable"),
        ("22001", "value_refused"),
        ("22021", "value_refused"),
        ("23505", "constraint_violated"),
        ("23503", "constraint_violated"),
        ("25006", "database_read_only"),
        ("25P03", "storage_timeout"),
        ("28P01", "database_denied"),
        ("3D000", "database_denied"),
        ("42501", "database_denied"),
        ("40001", "database_locked"),
        ("40P01", "database_locked"),
        ("53100", "disk_full"),
        ("53300", "database_unreachable"),
        ("55P03", "database_locked"),
        ("57014", "storage_timeout"),
        ("57P01", "database_unreachable"),
        ("57P03", "database_unreachable"),
        ("58030", "database_unreachable"),
        ("XX001", "database_corrupt"),
        ("42601", "storage_failed"),
    ],
)
def test_states_become_ours(state: str, code: str) -> None:
    """The SQLSTATE decides; neither the statement's values nor the row's are in the message."""
    cause = asyncpg.PostgresError.new(
        {"C": state, "M": "said", "D": "Key (digest)=(secret) already exists."}
    )
    error = told(cause)
    assert (error.code, "secret" in str(error)) == (code, False)


def test_values_that_fit_nowhere_are_named_so() -> None:
    """A value that the driver refuses is no failure of the server, and is not repeated."""
    error = told(asyncpg.DataError("invalid input for query argument $1: 'secret'"))
    assert (error.code, "secret" in str(error)) == ("value_refused", False)
    naive = StatementError("", "", None, ValueError("naive"))
    assert POSTGRESQL.translate(naive).code == "value_refused"


@pytest.mark.parametrize(
    "cause",
    [
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        ConnectionResetError(104, "Connection reset by peer"),
    ],
)
def test_a_lost_connection_is_told(cause: Exception) -> None:
    """A server that went away is out of reach, which may pass."""
    assert told(cause).code == "database_unreachable"


def test_a_pool_without_a_free_connection_is_a_lock() -> None:
    """Waiting too long inside the process is told like waiting for another one."""
    assert POSTGRESQL.translate(PoolTimeout("busy")).code == "database_locked"


def test_a_group_of_rows_is_one_array_for_each_column() -> None:
    """One statement serves any number of rows, so that it is prepared once."""
    rows = POSTGRESQL.new_rows(usage, ("request_id", "at", "stream", "duration_s", "attempts"))
    assert rows.sql == (
        "INSERT INTO usage (request_id, at, stream, duration_s, attempts)"
        " SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::boolean[],"
        " $4::double precision[], $5::bigint[]) ON CONFLICT DO NOTHING"
    )
    stockholm = NOON.astimezone(timezone(timedelta(hours=1)))
    arrays = rows.arrays([("a", NOON, True, 0.5, 1), ("b", stockholm, False, 1.0, 2)])
    assert arrays == [["a", "b"], [NOON, NOON], [True, False], [0.5, 1.0], [1, 2]]
    assert str(arrays[1][1]).endswith("+00:00")


def test_a_naive_moment_is_refused_in_a_group() -> None:
    """As in any other statement."""
    with pytest.raises(ValueRefused):
        POSTGRESQL.new_rows(usage, ("request_id", "at")).arrays([("a", NOON.replace(tzinfo=None))])


def test_each_column_of_usage_has_an_array() -> None:
    """The group writer knows how to send all of a record."""
    assert POSTGRESQL.new_rows(usage, _COLUMNS).columns == len(_COLUMNS)
