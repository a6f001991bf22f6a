"""A running gateway's catalogue: changed at once here, soon elsewhere, kept while SQL is away."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import update
from tests.integration.network.conftest import until
from tests.parts.manifests import own_manifest

from garage_ai.accounts import Manifests
from garage_ai.catalog import DEFAULT_MODEL, Catalog, digest_of
from garage_ai.gateway import catalogue as rooms
from garage_ai.gateway.catalogue import NetworkCatalogue, known_models
from garage_ai.storage import DatabaseUnreachable, Storage
from garage_ai.storage.tables import manifests

pytestmark = pytest.mark.anyio

OWN = own_manifest()


@pytest.fixture
async def here(storage: Storage) -> AsyncIterator[NetworkCatalogue]:
    """One gateway's, which looks for changes."""
    opened = await NetworkCatalogue.open(Manifests(storage))
    opened.start()
    yield opened
    await opened.close()


def names(catalog: Catalog) -> list[str]:
    return [each.name for each in catalog]


async def test_a_change_works_at_once_here(here: NetworkCatalogue) -> None:
    """Whoever listens has heard of it when the act is done; a new start knows it too."""
    heard: list[list[str]] = []

    async def listen(catalog: Catalog) -> None:
        heard.append(names(catalog))

    here.on_change(listen)
    added = await here.add(OWN)
    assert added == here.entry(OWN.name)
    assert added.added_at is not None
    assert [each.manifest.name for each in here.entries()] == [DEFAULT_MODEL, OWN.name]
    assert str(known_models(here.catalog)[-1].digest) == digest_of(OWN)
    await here.remove(OWN.name)
    assert here.entry(OWN.name) is None
    assert heard == [[DEFAULT_MODEL, OWN.name], [DEFAULT_MODEL]]
    assert (shipped := here.entry(DEFAULT_MODEL)) is not None
    assert shipped.added_at is None


async def test_other_gateways_hear_of_it(here: NetworkCatalogue, database: str) -> None:
    """By their own looks, of what is added as of what is removed."""
    storage = await Storage.open(database)
    elsewhere = await NetworkCatalogue.open(Manifests(storage))
    await elsewhere.add(OWN)
    async with asyncio.timeout(20):
        await until(lambda: here.entry(OWN.name) is not None)
        await elsewhere.remove(OWN.name)
        await until(lambda: here.entry(OWN.name) is None)
    await storage.close()


async def test_what_was_known_goes_on_while_the_database_is_away(
    here: NetworkCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks that fail are counted, and the next one that does not makes up for them."""
    monkeypatch.setattr(rooms, "LOOK_SECONDS", 0.01)
    await here.add(OWN)

    async def unreachable(_: Manifests, after: int = 0) -> None:
        raise DatabaseUnreachable(f"nothing after {after}")

    with monkeypatch.context() as away:
        away.setattr(Manifests, "changes", unreachable)
        await until(lambda: here.failures > 1)
        assert here.entry(OWN.name) is not None
    await here.remove(OWN.name)
    assert here.entry(OWN.name) is None


async def test_who_could_not_listen_is_told_again(
    here: NetworkCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A price that could not be written comes with the next look."""
    monkeypatch.setattr(rooms, "LOOK_SECONDS", 0.01)
    heard: list[list[str]] = []

    async def listen(catalog: Catalog) -> None:
        heard.append(names(catalog))
        if len(heard) == 1:
            raise DatabaseUnreachable("away")

    here.on_change(listen)
    with pytest.raises(DatabaseUnreachable):
        await here.add(OWN)
    await until(lambda: len(heard) == 2)
    assert heard[0] == heard[1] == [DEFAULT_MODEL, OWN.name]


@pytest.mark.parametrize("text", ["{}", OWN.__class__.__name__])
async def test_what_cannot_be_read_is_left_out(storage: Storage, text: str) -> None:
    """Another version wrote it; the gateway starts without it."""
    await Manifests(storage).add(OWN)
    async with storage.write() as connection:
        await connection.execute(update(manifests).values(manifest=text))
    opened = await NetworkCatalogue.open(Manifests(storage))
    assert names(opened.catalog) == [DEFAULT_MODEL]


async def test_a_versions_own_models_come_first(storage: Storage) -> None:
    """What was added under a name that a later version brings along is left out."""
    await Manifests(storage).add(OWN)
    renamed = f'"name":"{DEFAULT_MODEL}"'
    [change] = await Manifests(storage).changes()
    text = change.manifest.replace(f'"name":"{OWN.name}"', renamed)
    async with storage.write() as connection:
        await connection.execute(update(manifests).values(manifest=text, name=DEFAULT_MODEL))
    opened = await NetworkCatalogue.open(Manifests(storage))
    assert list(opened.catalog) == list(Catalog.load())
