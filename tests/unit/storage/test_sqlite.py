"""How SQLite's errors are named."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.exc import DataError, OperationalError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from garage_ai.storage.sqlite import Sqlite, as_text
from garage_ai.storage.tables import Utc

SQLITE = Sqlite(Path("garage.db"))


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (sqlite3.SQLITE_BUSY, "database_locked"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "database_locked"),
        (sqlite3.SQLITE_FULL, "disk_full"),
        (sqlite3.SQLITE_READONLY, "database_read_only"),
        (sqlite3.SQLITE_NOTADB, "database_corrupt"),
        (sqlite3.SQLITE_CORRUPT, "database_corrupt"),
        (sqlite3.SQLITE_CANTOPEN, "database_unreachable"),
        (sqlite3.SQLITE_IOERR_WRITE, "database_unreachable"),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, "constraint_violated"),
        (sqlite3.SQLITE_ERROR, "storage_failed"),
    ],
)
def test_sqlite_codes_become_ours(number: int, code: str) -> None:
    """The code decides, plain or extended; the statement's values are not in the message."""
    cause = sqlite3.OperationalError("said")
    cause.sqlite_errorcode = number
    error = SQLITE.translate(OperationalError("INSERT", {"digest": "secret"}, cause))
    assert (error.code, "secret" in str(error)) == (code, False)


def test_values_that_fit_nowhere_are_named_so() -> None:
    """A value that the driver refuses is no failure of the database."""
    assert (
        SQLITE.translate(StatementError("", "", None, ValueError("naive"))).code == "value_refused"
    )
    assert SQLITE.translate(DataError("", None, sqlite3.DataError("big"))).code == "value_refused"


def test_a_pool_without_a_free_connection_is_a_lock() -> None:
    """Waiting too long inside the process is told like waiting for another one."""
    assert SQLITE.translate(PoolTimeout("busy")).code == "database_locked"


@given(
    st.datetimes(
        timezones=st.timezones() | st.just(UTC),
        min_value=datetime(1, 1, 3),  # noqa: DTZ001 - the strategy adds the zone
        max_value=datetime(9999, 12, 29),  # noqa: DTZ001
    )
)
def test_a_moment_is_written_as_sqlalchemy_does(moment: datetime) -> None:
    """Rows of either are read back and compared alike."""
    told = Utc().dialect_impl(dialect()).bind_processor(dialect())
    assert told is not None
    assert as_text(moment) == told(moment)


def test_a_moment_without_a_zone_is_refused() -> None:
    """Nobody knows when it was."""
    assert as_text(None) is None
    with pytest.raises(ValueError, match="time zone"):
        as_text(datetime(2026, 1, 1))  # noqa: DTZ001
