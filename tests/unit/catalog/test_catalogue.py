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


def test_unknown_names_and_digests_give_none() -> None:
    """Looking up what is not there is an answer, not an error."""
    catalog = Catalog.load()
    assert catalog.by_name("no-such-model") is None
    assert catalog.by_name(CHAT_ALIAS) is None
    assert catalog.by_digest(NOBODY) is None


@pytest.mark.parametrize("taken", ["tiny", CHAT_ALIAS])
def test_a_name_is_given_once(make_manifest: MakeManifest, taken: str) -> None:
    """Two models of one name, or one called like the alias, are refused."""
    with pytest.raises(ManifestInvalid, match=taken):
        Catalog([make_manifest("tiny"), make_manifest(taken, parameters=5)])
