import asyncio
import hashlib
import importlib
import os
import shutil
from pathlib import Path

import pytest
from tests.integration.catalog.conftest import MakeModel, MakeStore
from tests.parts.mirror import Mirror

from garage_ai.catalog import (
    DEFAULT_MODEL,
    Catalog,
    GgufInvalid,
    InFolder,
    InPackage,
    Manifest,
    ManifestInvalid,
    ModelStore,
    NoSourceLeft,
    Progress,
    SourceAbsent,
    StoreBroken,
    WrongDigest,
    WrongSize,
    digest_of,
    read_gguf,
)

pytestmark = pytest.mark.anyio

DATA = b"some weights" * 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with the weights."""
    place = tmp_path / "mine"
    place.mkdir()
    (place / "weights.gguf").write_bytes(DATA)
    return place


@pytest.fixture
def model(folder: Path, make_model: MakeModel) -> Manifest:
    """Make the manifest of those weights."""
    return make_model(InFolder(folder=str(folder)), files={"weights.gguf": DATA})


async def test_a_name_that_is_no_text_is_told(store: ModelStore, folder: Path) -> None:
    """Files that came from an older Windows have such; a manifest is JSON, and so are our notes."""
    odd = folder / os.fsdecode(b"mod\xe8le.gguf")
    await asyncio.to_thread(shutil.copyfile, await small(store), odd)
    with pytest.raises(ManifestInvalid, match="rename"):
        await store.adopt(odd)


async def small(store: ModelStore) -> Path:
    """Give the file of the model that comes with an installation."""
    manifest = Catalog.load().by_name(DEFAULT_MODEL)
    assert manifest is not None
    return (await store.ensure(manifest))[manifest.weights.path]


def phases(seen: list[Progress]) -> list[tuple[str, int]]:
    return [(each.phase, each.done) for each in seen]


async def test_the_default_model_is_what_its_manifest_says(store: ModelStore) -> None:
    """Every figure of the shipped manifest is computed again from the real file."""
    manifest = Catalog.load().by_name(DEFAULT_MODEL)
    assert manifest is not None
    path = (await store.ensure(manifest))[manifest.weights.path]
    header = await asyncio.to_thread(read_gguf, path)
    assert manifest.template_digest == header.template_digest
    assert manifest.tokenizer_digest == header.tokenizer_digest
    assert manifest.parameters == header.parameters
    assert manifest.context_length == header.context_length
    assert manifest.quantisation == header.quantisation
    assert manifest.family == header.text("general.basename")
    assert manifest.licence.lower() == header.text("general.license")
    assert manifest.size == path.stat().st_size
    assert manifest.weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


async def test_a_package_is_used_in_place(
    store: ModelStore, tmp_path: Path, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is copied, and the package is not imported."""
    package = tmp_path / "packages" / "weights_in_place"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "weights.gguf").write_bytes(DATA)
    monkeypatch.syspath_prepend(package.parent)
    importlib.invalidate_caches()
    model = make_model(InPackage(package="weights_in_place"), files={"weights.gguf": DATA})
    paths = await store.ensure(model)
    assert paths == {"weights.gguf": package / "weights.gguf"}
    assert not (tmp_path / "store" / "models").exists()


async def test_an_unchanged_file_is_read_once(
    store: ModelStore, make_store: MakeStore, model: Manifest
) -> None:
    """The second start does not read the file again, also in another process's store object."""
    first: list[Progress] = []
    second: list[Progress] = []
    await store.ensure(model, first.append)
    await make_store().ensure(model, second.append)
    assert phases(first) == [("checking", 0), ("checking", len(DATA))]
    assert phases(second) == [("checking", len(DATA))]


async def test_a_changed_file_is_noticed_though_its_time_was_set_back(
    store: ModelStore, model: Manifest, folder: Path
) -> None:
    """Same size, same modification time: the time of change still gives it away."""
    await store.ensure(model)
    path = folder / "weights.gguf"
    before = path.stat()
    async with asyncio.timeout(20):
        while path.stat().st_ctime_ns == before.st_ctime_ns:
            path.write_bytes(DATA[::-1])
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            await asyncio.sleep(0.001)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(NoSourceLeft) as caught:
        await store.ensure(model)
    assert [type(cause) for cause in caught.value.causes] == [WrongDigest]
    assert path.read_bytes() == DATA[::-1], "the owner's file is not touched"


async def test_a_damaged_note_only_costs_time(
    store: ModelStore, model: Manifest, tmp_path: Path
) -> None:
    """What is remembered of a file is never needed to be right."""
    await store.ensure(model)
    (note,) = (tmp_path / "store" / "checked").iterdir()
    note.write_bytes(b"\xff{")
    seen: list[Progress] = []
    await store.ensure(model, seen.append)
    assert phases(seen)[0] == ("checking", 0)


async def test_every_way_of_not_being_here_is_told(
    store: ModelStore, make_model: MakeModel, folder: Path, tmp_path: Path
) -> None:
    """Missing package, missing file, pipe, folder and wrong size are each named."""
    for name in ("pipe", "dir", "small"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / "pipe" / "weights.gguf")
    (tmp_path / "dir" / "weights.gguf").mkdir()
    (tmp_path / "small" / "weights.gguf").write_bytes(DATA[:-1])
    places = [InFolder(folder=str(tmp_path / name)) for name in ("none", "pipe", "dir", "small")]
    model = make_model(InPackage(package="no_such_package"), *places, files={"weights.gguf": DATA})
    with pytest.raises(NoSourceLeft) as caught:
        await store.ensure(model)
    assert [type(cause) for cause in caught.value.causes] == [*[SourceAbsent] * 4, WrongSize]
    good = make_model(*places, InFolder(folder=str(folder)), files={"weights.gguf": DATA})
    assert (await store.ensure(good))["weights.gguf"] == folder / "weights.gguf"


async def test_what_is_here_comes_before_the_network(
    store: ModelStore, mirror: Mirror, make_model: MakeModel, tmp_path: Path
) -> None:
    """A mirror is not asked for what a later source has on this machine."""
    (tmp_path / "weights.gguf").write_bytes(mirror.content)
    await store.ensure(make_model(mirror.source, InFolder(folder=str(tmp_path))))
    assert mirror.requests == []


async def test_a_stored_file_that_rotted_is_fetched_again(
    store: ModelStore, mirror: Mirror, make_model: MakeModel
) -> None:
    """A flipped bit in the store is found and mended."""
    model = make_model(mirror.source)
    path = (await store.ensure(model))["weights.gguf"]
    damaged = bytearray(mirror.content)
    damaged[1000] ^= 1
    path.write_bytes(damaged)
    os.utime(path, ns=(1, 1))
    assert (await store.ensure(model))["weights.gguf"] == path
    assert path.read_bytes() == mirror.content
    assert len(mirror.requests) == 2


async def test_a_store_that_cannot_be_written_is_a_typed_error(
    mirror: Mirror, make_model: MakeModel, make_store: MakeStore
) -> None:
    """A file in the way of the store's folder is told as that."""
    make_store.root.write_text("in the way")
    with pytest.raises(StoreBroken):
        await make_store().ensure(make_model(mirror.source))


async def test_an_owners_file_is_adopted_and_then_found(
    store: ModelStore, make_store: MakeStore
) -> None:
    """A GGUF file that is pointed at becomes a model, and is hashed only the first time."""
    default = Catalog.load().by_name(DEFAULT_MODEL)
    assert default is not None
    path = (await store.ensure(default))[default.weights.path]
    seen: list[Progress] = []
    manifest = await make_store().adopt(path, name="my-model", on_progress=seen.append)
    assert phases(seen) == [("checking", default.size)]
    assert (manifest.name, manifest.kind) == ("my-model", "chat")
    assert manifest.files == default.files
    assert manifest.template_digest == default.template_digest
    assert digest_of(manifest) != digest_of(default)
    assert await store.ensure(manifest) == {path.name: path}


async def test_what_cannot_be_adopted(store: ModelStore, tmp_path: Path) -> None:
    """A missing file and a file of another kind have their own errors."""
    with pytest.raises(SourceAbsent):
        await store.adopt(tmp_path / "gone.gguf")
    (tmp_path / "no.gguf").write_bytes(b"not a model")
    with pytest.raises(GgufInvalid):
        await store.adopt(tmp_path / "no.gguf")
