"""Fixtures: a database for each test, of either kind, copied from one that was migrated once.

`database` is its URL and `storage` is open on it; a test that asks for one of them runs on SQLite
and on PostgreSQL. `sqlite_file` and `file_storage` are for what only a file has.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.parts.live_folder import contents
from tests.parts.postgresql import Cluster

from garage_ai.storage import Storage, sqlite_url
from garage_ai.storage.dialect import dialect_for
from garage_ai.storage.schema import upgrade

ON_BOTH = ("sqlite", pytest.param("postgresql", marks=pytest.mark.system))


@dataclass(frozen=True, slots=True)
class Server:
    """A running PostgreSQL server, and its database to make others from."""

    cluster: Cluster
    template: str


def pytest_itemcollected(item: pytest.Item) -> None:
    """Start the server before the look at what was there before the test."""
    parameters = getattr(item, "callspec", None)
    given = [] if parameters is None else [str(each) for each in parameters.params.values()]
    if isinstance(item, pytest.Function) and "postgresql" in given:
        item.fixturenames.insert(0, "postgresql")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    cluster = Cluster.make()
    try:
        yield Server(cluster, cluster.migrate())
    finally:
        cluster.stop()


@pytest.fixture
def killable() -> Iterator[Server]:
    """A server of the test's own, to kill, stop and start again."""
    cluster = Cluster.make(durable=True)
    try:
        yield Server(cluster, cluster.migrate())
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "garage.db"

    async def make() -> None:
        await (await Storage.open(sqlite_url(path))).close()

    asyncio.run(make())
    return path


@pytest.fixture
def sqlite_file(migrated_file: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(migrated_file, tmp_path / "garage.db"))


@pytest.fixture(params=ON_BOTH)
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield sqlite_url(request.getfixturevalue("sqlite_file"))
    else:
        server: Server = request.getfixturevalue("postgresql")
        with server.cluster.database(server.template) as url:
            yield url


@pytest.fixture
def kept(request: pytest.FixtureRequest, database: str) -> Callable[[], bytes]:
    """Read every byte that the database of the test has on the disk."""
    if database.startswith("sqlite"):
        folder = request.getfixturevalue("sqlite_file").parent
    else:
        folder = request.getfixturevalue("postgresql").cluster.data

    def read() -> bytes:
        return b"".join(data for _, data in contents(folder))

    return read


@pytest.fixture(params=ON_BOTH)
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield sqlite_url(tmp_path / "empty.db")
    else:
        server: Server = request.getfixturevalue("postgresql")
        with server.cluster.database() as url:
            yield url


@pytest.fixture
async def storage(database: str) -> AsyncIterator[Storage]:
    opened = await Storage.open(database)
    yield opened
    await opened.close()


@pytest.fixture
async def file_storage(sqlite_file: Path) -> AsyncIterator[Storage]:
    opened = await Storage.open(sqlite_url(sqlite_file))
    yield opened
    await opened.close()


async def made_by(url: str, revision: str) -> AsyncEngine:
    """Make a database as a version of that revision left it; the caller closes the engine."""
    dialect = dialect_for(url)
    dialect.prepare()
    engine = dialect.writer()
    async with engine.begin() as connection:
        await connection.run_sync(upgrade, revision)
    return engine
