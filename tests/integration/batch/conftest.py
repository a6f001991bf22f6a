"""Batches are run over the network's own parts."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from obstore.store import MemoryStore
from tests.integration.batch.world import DERIVED, Owners, World, nothing
from tests.integration.network.conftest import books, make_node, network
from tests.integration.serving.test_service import KEY
from tests.parts.batch_room import Room, open_room
from tests.parts.s3 import S3, running_s3
from tests.parts.unbilled import EvenTurns, NoLimits

from garage_ai.batch import Folder
from garage_ai.batch.bucket import Bucket
from garage_ai.batch.worker import fates as fates_module
from garage_ai.batch.worker import worker as worker_module
from garage_ai.batch.worker.promises import Promises
from garage_ai.ledger import Allowances, Leases, Ledger
from garage_ai.ledger.prices import PriceList
from garage_ai.network.dedications import Dedications
from garage_ai.network.network import Network
from garage_ai.serving import Billing
from garage_ai.storage import Storage, sqlite_url
from garage_ai.storage.tables import members

ON_SERVER = "bucket on a server"
"""Names the kind of store of which there is a server, `s3`."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Start the server before the look at what was there before the test."""
    parameters = getattr(item, "callspec", None)
    given = [] if parameters is None else parameters.params.values()
    if isinstance(item, pytest.Function) and ON_SERVER in given:
        item.fixturenames.insert(0, "s3")


@pytest.fixture(scope="package")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """An S3 server, for tests that do it no harm."""
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
async def world(
    network: Network, sqlite_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    monkeypatch.setattr(fates_module, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(worker_module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(worker_module, "IDLE_SECONDS", 0.05)
    storage = await Storage.open(sqlite_url(sqlite_file))
    async with storage.write() as connection:
        await connection.execute(
            members.insert().values(id=KEY.member, name="Anna", created_at=datetime.now(UTC))
        )
    ledger = Ledger(storage)
    allowances = Allowances.start(Leases(storage, "g1"))
    prices = await PriceList.open(storage, DERIVED)
    billing = Billing(
        allowances,
        prices,
        network,
        Owners(),
        fee_permille=100,
        turns=EvenTurns(),
    )
    made = World(
        storage,
        ledger,
        network,
        Folder(tmp_path / "files"),
        Promises(storage, prices, network, NoLimits(), nothing),
        billing,
        prices,
        Dedications(network.registry, network.control, network.dispatcher.placement.waits).start(),
    )
    yield made
    await made.dedications.close()
    for worker in made.workers:
        await worker.close()
    await prices.close()
    await allowances.close()
    assert (await ledger.verify()).findings == []
    await storage.close()


@pytest.fixture
async def room(storage: Storage, tmp_path: Path) -> AsyncIterator[Room]:
    """A room whose files are in a folder; its keeper is at work."""
    folder = tmp_path / "files"
    async with open_room(storage, folder, Folder(folder)) as made:
        made.keeper.start()
        yield made


@pytest.fixture
async def bucket_room(storage: Storage, tmp_path: Path) -> AsyncIterator[Room]:
    """A room whose files are in a bucket; its keeper is not at work yet."""
    async with open_room(storage, tmp_path, Bucket(MemoryStore())) as made:
        yield made


__all__ = ["ON_SERVER", "books", "make_node", "network", "world"]
