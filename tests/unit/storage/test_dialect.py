"""Which databases can be opened."""

from pathlib import Path

import pytest

from garage_ai.storage import InvalidDatabaseUrl, sqlite_url
from garage_ai.storage.dialect import dialect_for
from garage_ai.storage.postgresql import Postgresql
from garage_ai.storage.sqlite import Sqlite


def test_a_sqlite_url_names_a_file() -> None:
    """Three slashes begin a path beside the working folder, four an absolute one."""
    assert file_of("sqlite:////var/lib/garage.db") == Path("/var/lib/garage.db")
    assert file_of("sqlite:///here.db") == Path.cwd() / "here.db"


def file_of(url: str) -> Path:
    dialect = dialect_for(url)
    assert isinstance(dialect, Sqlite)
    return dialect.path


@pytest.mark.parametrize("name", ["a b.db", "50%25.db", "why?.db", "grå#1;å.db", "a&b=c.db"])
def test_a_path_survives_its_url(name: str) -> None:
    """Whatever characters a path has, its URL leads back to it."""
    assert file_of(sqlite_url(Path("/data") / name)) == Path("/data") / name


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
        "postgresql://",
        "postgresql://host",
        "postgresql://host/",
        "postgresql://host/garage?sslmode=maybe",
        "postgresql://host/garage?options=-c%20fsync%3Doff",
        "postgresql://[host/garage",
        "postgresql+psycopg://host/garage",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    """What cannot be kept on a disk by this version is refused before anything is made."""
    with pytest.raises(InvalidDatabaseUrl):
        dialect_for(url)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://gai:hunter2@db.example.org/garage", "db.example.org"),
        ("postgres://gai:hunter2@db:5433/garage?sslmode=verify-full", "db:5433"),
        ("postgresql://gai:hunter2@/garage?host=/run/postgresql", "/run/postgresql"),
        ("postgresql:///garage", "this host"),
    ],
)
def test_a_postgresql_url_names_a_server(url: str, place: str) -> None:
    """Hosts, ports and socket folders may be told of; the password stays where it is."""
    dialect = dialect_for(url)
    assert isinstance(dialect, Postgresql)
    assert dialect.place == f"PostgreSQL at {place}"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://gai:hunter2@db",
        "postgresql://gai:hunter2@[db/garage",
        "postgresql://gai:hunter2@db/garage?sslmode=hunter2",
        "postgresql://gai@db/garage?password=hunter2",
        "mysql://gai:hunter2@db/garage",
    ],
)
def test_a_refused_url_keeps_its_password(url: str) -> None:
    """The message about a URL does not show what is in it."""
    with pytest.raises(InvalidDatabaseUrl) as caught:
        dialect_for(url)
    assert "hunter2" not in str(caught.value)
