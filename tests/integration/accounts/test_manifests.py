"""Models that administrators add: each name once, each act in the log, nothing that nodes lack."""

import pytest
from tests.parts.manifests import MIRROR, own_manifest

from garage_ai.accounts import (
    OPERATOR,
    Conflict,
    ExternalModels,
    ManifestExists,
    ManifestNotFound,
    Manifests,
    Members,
)
from garage_ai.audit.models import Actor
from garage_ai.audit.service import AuditLog
from garage_ai.catalog import (
    CHAT_ALIAS,
    DEFAULT_MODEL,
    Catalog,
    InFolder,
    ManifestInvalid,
    ModelFile,
    OnHuggingFace,
    Source,
    decode_manifest,
    digest_of,
)
from garage_ai.storage import Storage
from garage_ai.wire.ids import Digest

pytestmark = pytest.mark.anyio

ADMIN = Actor.key("key_admin", OPERATOR)
OWN = own_manifest()
OTHER = Digest("sha256:" + "e" * 64)


@pytest.fixture
def manifests(storage: Storage) -> Manifests:
    """Nothing but what is shipped."""
    return Manifests(storage)


async def acts(storage: Storage) -> list[tuple[str, str, str]]:
    """Give what the log says of manifests, oldest first."""
    found = await AuditLog(storage).following()
    return [
        (entry.action, entry.subject, entry.details)
        for entry in found
        if entry.action.startswith("manifest")
    ]


async def test_a_model_is_added_once(manifests: Manifests, storage: Storage) -> None:
    """What was kept is what was given; the same once more changes nothing and is no act."""
    await manifests.add(OWN, by=ADMIN)
    await manifests.add(OWN, by=ADMIN)
    [change] = await manifests.changes()
    assert (change.digest, change.name, change.revision) == (digest_of(OWN), OWN.name, 1)
    assert change.removed_at is None
    assert decode_manifest(change.manifest) == OWN
    assert await manifests.changes(change.revision) == []
    assert await acts(storage) == [("manifest.added", digest_of(OWN), f'{{"name":"{OWN.name}"}}')]


async def test_sources_and_rank_are_renewed(manifests: Manifests) -> None:
    """They are no part of what the model is: the moment when it was added stays."""
    await manifests.add(OWN)
    [before] = await manifests.changes()
    moved = own_manifest(sources=(OnHuggingFace("org/own", "main"), MIRROR), rank=3)
    await manifests.add(moved)
    [after] = await manifests.changes(before.revision)
    assert (after.digest, after.added_at) == (before.digest, before.added_at)
    assert decode_manifest(after.manifest) == moved


async def test_what_is_removed_may_come_back(manifests: Manifests, storage: Storage) -> None:
    """Its name is free meanwhile, also for another model."""
    await manifests.add(OWN)
    await manifests.remove(OWN.name, by=ADMIN)
    [gone] = await manifests.changes(1)
    assert gone.removed_at is not None
    with pytest.raises(ManifestNotFound):
        await manifests.remove(OWN.name)
    await manifests.add(own_manifest(licence="MIT"))
    with pytest.raises(ManifestExists):
        await manifests.add(OWN)
    await manifests.remove(OWN.name)
    await manifests.add(OWN)
    [*_, back] = await manifests.changes()
    assert (back.digest, back.removed_at) == (digest_of(OWN), None)
    assert back.added_at >= gone.removed_at
    assert [action for action, *_ in await acts(storage)] == [
        *("manifest.added", "manifest.removed") * 2,
        "manifest.added",
    ]


@pytest.mark.parametrize("name", [CHAT_ALIAS, DEFAULT_MODEL])
async def test_a_name_that_all_catalogues_have_is_taken(manifests: Manifests, name: str) -> None:
    """The alias, and what comes with every version."""
    with pytest.raises(ManifestExists):
        await manifests.add(own_manifest(name, licence="MIT"))
    assert await manifests.changes() == []


async def test_what_is_shipped_is_there_already(manifests: Manifests, storage: Storage) -> None:
    """To add it is no act, and to remove it is refused."""
    shipped = Catalog.load().by_name(DEFAULT_MODEL)
    assert shipped is not None
    await manifests.add(shipped)
    with pytest.raises(Conflict, match="comes with every version"):
        await manifests.remove(DEFAULT_MODEL)
    assert await acts(storage) == []


async def test_another_models_name_or_id_is_taken(manifests: Manifests) -> None:
    """Either stands for one model alone."""
    await manifests.add(own_manifest("one", id="one-id"))
    for taken in (own_manifest("one-id"), own_manifest("two", id="one")):
        with pytest.raises(ManifestExists):
            await manifests.add(taken)


@pytest.mark.parametrize(("digest", "free"), [(OTHER, False), (digest_of(OWN), True)])
async def test_what_an_administrator_allowed_a_member_stands(
    manifests: Manifests, storage: Storage, digest: Digest, free: bool
) -> None:
    """Another model under that name keeps it; the same one is what is added."""
    member = (await Members(storage).add("Anna")).id
    claims = ExternalModels(storage)
    await claims.claim(OWN.name, member, Digest(digest), in_catalogue=False)
    await claims.approve(OWN.name, member)
    if free:
        await manifests.add(OWN)
        return
    with pytest.raises(ManifestExists, match="lets a member serve"):
        await manifests.add(OWN)


async def test_a_name_that_a_member_came_by_first_is_the_catalogues(
    manifests: Manifests, storage: Storage
) -> None:
    """Nobody can keep a name from the network by claiming it."""
    member = (await Members(storage).add("Anna")).id
    await ExternalModels(storage).claim(OWN.name, member, OTHER, in_catalogue=False)
    await manifests.add(OWN)
    assert len(await manifests.changes()) == 1


@pytest.mark.parametrize(
    "sources", [(), (InFolder("/srv/models"),), (MIRROR, InFolder("/srv/models"))]
)
async def test_every_node_must_be_able_to_fetch_it(
    manifests: Manifests, sources: tuple[Source, ...]
) -> None:
    """From elsewhere, and not from a folder of one machine."""
    with pytest.raises(ManifestInvalid, match="https and huggingface"):
        await manifests.add(own_manifest(sources=sources))


async def test_programs_are_no_models(manifests: Manifests) -> None:
    """A pickle runs what a stranger wrote; nodes would not fetch it."""
    files = (ModelFile(path="pytorch_model.bin", size=1, sha256="0" * 64),)
    with pytest.raises(ManifestInvalid, match=r"pytorch_model\.bin"):
        await manifests.add(own_manifest(files=files))
