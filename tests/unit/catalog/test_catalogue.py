import json
from pathlib import Path

import msgspec
import pytest
from tests.unit.catalog.conftest import MakeManifest

from garage_ai.catalog import (
    CHAT_ALIAS,
    DEFAULT_MODEL,
    Catalog,
    Digest,
    ManifestInvalid,
    digest_of,
)

NOBODY = Digest("sha256:" + "0" * 64)


def test_shipped_catalogue_has_the_default_model() -> None:
    """The default model is found by its name and by its digest, and is a chat model."""
    catalog = Catalog.load()
    manifest = catalog.by_name(DEFAULT_MODEL)
    assert manifest is not None
    assert manifest.kind == "chat"
    assert catalog.by_digest(digest_of(manifest)) is manifest
    assert digest_of(manifest) in catalog.aliases[CHAT_ALIAS]


def test_unknown_names_and_digests_give_none() -> None:
    """Looking up what is not there is an answer, not an error."""
    catalog = Catalog.load()
    assert catalog.by_name("no-such-model") is None
    assert catalog.by_name(CHAT_ALIAS) is None
    assert catalog.by_digest(NOBODY) is None


def test_best_chat_takes_the_highest_rank_that_is_served(make_manifest: MakeManifest) -> None:
    """The alias stands for the best chat model among those served, never for another kind."""
    good, better = make_manifest("good", rank=1), make_manifest("better", rank=2)
    vectors = make_manifest("vectors", kind="embedding", rank=9)
    catalog = Catalog([good, vectors, better])
    served = [digest_of(each) for each in (good, vectors, better)]
    assert catalog.best_chat(served) == digest_of(better)
    assert catalog.best_chat(served[:2]) == digest_of(good)
    assert catalog.best_chat([served[1], NOBODY]) is None
    assert catalog.best_chat([]) is None


def test_equal_ranks_are_decided_by_size_and_then_by_digest(make_manifest: MakeManifest) -> None:
    """Two gateways with the same catalogue choose the same model, whatever the order."""
    small = make_manifest("small", parameters=1)
    twins = [make_manifest("twin-a", parameters=2), make_manifest("twin-b", parameters=2)]
    served = [digest_of(each) for each in (small, *twins)]
    first = Catalog([small, *twins]).best_chat(served)
    assert first == min(digest_of(each) for each in twins)
    assert Catalog([*reversed(twins), small]).best_chat(reversed(served)) == first


def test_resolve_answers_names_ids_and_aliases_only_when_served(
    make_manifest: MakeManifest,
) -> None:
    """A name that nobody serves resolves to nothing."""
    manifest = msgspec.structs.replace(make_manifest("tiny"), id="tiny-f16")
    catalog, digest = Catalog([manifest]), digest_of(manifest)
    for name in ("tiny", "tiny-f16", CHAT_ALIAS):
        assert catalog.resolve(name, [NOBODY, digest]) == digest
        assert catalog.resolve(name, [NOBODY]) is None
    assert catalog.resolve("other", [digest]) is None


@pytest.mark.parametrize("taken", ["tiny", CHAT_ALIAS])
def test_a_name_is_given_once(make_manifest: MakeManifest, taken: str) -> None:
    """Two models of one name, or one called like the alias, are refused."""
    with pytest.raises(ManifestInvalid, match=taken):
        Catalog([make_manifest("tiny"), make_manifest(taken, parameters=5)])


def test_operator_manifests_are_added_to_the_shipped_ones(
    make_manifest: MakeManifest, tmp_path: Path
) -> None:
    """A manifest file named at loading is known like the others."""
    file = tmp_path / "mine.json"
    file.write_bytes(msgspec.json.encode(make_manifest("mine")))
    catalog = Catalog.load(file)
    assert catalog.by_name("mine") == make_manifest("mine")
    assert len(catalog) == len(Catalog.load()) + 1
    assert {each.name for each in catalog} > {"mine"}


def test_unreadable_operator_manifests_are_named(tmp_path: Path) -> None:
    """The error says which file is missing, broken or far too large."""
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps({"id": "x"}))
    large = tmp_path / "large.json"
    large.write_bytes(b" " * (1024 * 1024 + 1))
    for path in (tmp_path / "gone.json", broken, large):
        with pytest.raises(ManifestInvalid, match=path.name):
            Catalog.load(path)


def test_aliases_cannot_be_changed_from_outside() -> None:
    """The catalogue is shared by everything in a process and stays as it was made."""
    with pytest.raises(TypeError):
        Catalog.load().aliases["mine"] = ()  # type: ignore[index]
