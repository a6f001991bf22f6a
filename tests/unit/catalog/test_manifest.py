import json

import msgspec
import pytest
from tests.unit.catalog.conftest import MakeManifest

from garage_ai.catalog import (
    InPackage,
    Manifest,
    ManifestInvalid,
    OverHttps,
    decode_manifest,
    digest_of,
)


def written(manifest: Manifest, **changes: object) -> str:
    return json.dumps(msgspec.to_builtins(manifest) | changes)


def test_round_trip(make_manifest: MakeManifest) -> None:
    """What is written down is read back equal, sources included."""
    sources = (InPackage(package="weights"), OverHttps(base="https://example.org/m"))
    manifest = make_manifest(sources=sources)
    assert decode_manifest(msgspec.json.encode(manifest)) == manifest


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "two words"},
        {"id": "a/b"},
        {"name": "tiny\n"},
        {"kind": "poetry"},
        {"context_length": 0},
        {"parameters": -1},
        {"parameters": 1.5},
        {"files": []},
        {"template_digest": "sha256:abc"},
        {"template_digest": "0" * 64},
        {"sources": [{"type": "ftp", "base": "ftp://example.org"}]},
        {"sources": [{"type": "https", "base": "http://example.org"}]},
        {"sources": [{"type": "https", "base": "https://[2001:db8::1/models"}]},
        {"sources": [{"type": "https", "base": "https:///models"}]},
        {"sources": [{"type": "https", "base": "https://user@example.org"}]},
        {"sources": [{"type": "package", "package": "a.b"}]},
        {"sources": [{"type": "path", "folder": "relative"}]},
        {"sources": [{"type": "huggingface", "repo": "only-one", "revision": "main"}]},
        {"surprise": 1},
    ],
)
def test_what_breaks_a_rule_is_refused(
    make_manifest: MakeManifest, changes: dict[str, object]
) -> None:
    """A field out of its bounds, or one that is not known, makes the manifest invalid."""
    with pytest.raises(ManifestInvalid) as caught:
        decode_manifest(written(make_manifest(), **changes))
    assert caught.value.code == "manifest_invalid"


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../up", "a/../b", "a//b", ".hidden", "a/.b", "a\\b", "a\x00b", "", "a/"],
)
def test_file_paths_stay_inside_the_model(make_manifest: MakeManifest, path: str) -> None:
    """A manifest cannot name a file outside its folder, nor one of ours that begin with a dot."""
    file = {"path": path, "size": 1, "sha256": "0" * 64}
    with pytest.raises(ManifestInvalid):
        decode_manifest(written(make_manifest(), files=[file]))


def test_two_files_of_one_path_are_refused(make_manifest: MakeManifest) -> None:
    """Each path of a model is there once."""
    file = {"path": "a", "size": 1, "sha256": "0" * 64}
    with pytest.raises(ManifestInvalid, match="same path"):
        decode_manifest(written(make_manifest(), files=[file, file]))


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b'{"id":', "null"])
def test_what_is_not_a_manifest_is_refused(data: bytes) -> None:
    """Whatever the bytes, the error is ours."""
    with pytest.raises(ManifestInvalid):
        decode_manifest(data)


def test_sources_and_rank_do_not_rename_a_model(make_manifest: MakeManifest) -> None:
    """A new mirror or a new favourite leaves nodes of the older release served."""
    plain = make_manifest()
    assert digest_of(plain) == digest_of(
        make_manifest(rank=7, sources=(OverHttps(base="https://example.org"),))
    )


def test_the_digest_is_pinned(make_manifest: MakeManifest) -> None:
    """A release that changed how digests are made would cut every running node off."""
    assert digest_of(make_manifest()) == (
        "sha256:16eb16da2e5d7c3389f04b90786a45baf847ae6fac3f8d07ef95c5e2f8fd5e98"
    )


def test_size_and_weights(make_manifest: MakeManifest) -> None:
    """The first file is the engine's, and all of them make the size."""
    manifest = make_manifest()
    assert (manifest.weights, manifest.size) == (manifest.files[0], 10)
