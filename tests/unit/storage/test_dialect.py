"""Which databases can be opened, and how their errors are named."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.exc import DataError, OperationalError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from garage_ai.storage import InvalidDatabaseUrl, sqlite_url
from garage_ai.storage.dialect import dialect_for, translate


def test_a_sqlite_url_names_a_file() -> None:
    """Three slashes begin a path beside the working folder, four an absolute one."""
    assert dialect_for("sqlite:////var/lib/garage.db").path == Path("/var/lib/garage.db")
    assert dialect_for("sqlite:///here.db").path == Path.cwd() / "here.db"


@pytest.mark.parametrize("name", ["a b.db", "50%25.db", "why?.db", "grå#1;å.db", "a&b=c.db"])
def test_a_path_survives_its_url(name: str) -> None:
    """Whatever characters a path has, its URL leads back to it."""
    assert dialect_for(sqlite_url(Path("/data") / name)).path == Path("/data") / name


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///a.db?mode=ro",
        "sqlite://host/a.db",
        "mysql://host/garage",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    """What cannot be kept on a disk by this version is refused before anything is made."""
    with pytest.raises(InvalidDatabaseUrl):
        dialect_for(url)


def test_a_refused_url_keeps_its_password() -> None:
    """The message about a URL does not show what is in it."""
    with pytest.raises(InvalidDatabaseUrl) as caught:
        dialect_for("postgresql://gai:hunter2@db/garage")
    assert "hunter2" not in str(caught.value)


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
    error = translate(OperationalError("INSERT", {"digest": "secret"}, cause))
    assert (error.code, "secret" in str(error)) == (code, False)


def test_values_that_fit_nowhere_are_named_so() -> None:
    """A value that the driver refuses is no failure of the database."""
    assert translate(StatementError("", "", None, ValueError("naive"))).code == "value_refused"
    assert translate(DataError("", None, sqlite3.DataError("big"))).code == "value_refused"


def test_a_pool_without_a_free_connection_is_a_lock() -> None:
    """Waiting too long inside the process is told like waiting for another one."""
    assert translate(PoolTimeout("busy")).code == "database_locked"
