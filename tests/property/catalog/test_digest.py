import json
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from garage_ai.catalog import Manifest, ManifestInvalid, canonical_json, decode_manifest, digest_of

Fields = dict[str, Any]

hexes = st.text("0123456789abcdef", min_size=64, max_size=64)
digests = hexes.map("sha256:".__add__)
names = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,20}\Z")
words = st.text(min_size=1, max_size=20)
counts = st.integers(1, 2**53)
files = st.fixed_dictionaries(
    {"path": st.from_regex(r"\A[a-z]{1,8}(/[a-z]{1,8})?\Z"), "size": counts, "sha256": hexes}
)
identities = st.fixed_dictionaries(
    {
        "id": names,
        "name": names,
        "family": words,
        "kind": st.sampled_from(["chat", "completion", "embedding"]),
        "context_length": counts,
        "parameters": counts,
        "quantisation": words,
        "licence": words,
        "files": st.lists(files, min_size=1, max_size=3, unique_by=lambda file: file["path"]),
    },
    optional={"template_digest": digests, "tokenizer_digest": digests},
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def manifest_of(fields: Fields) -> Manifest:
    return decode_manifest(json.dumps(fields))


@given(identities, st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(fields: Fields, random: Random) -> None:
    """However the file is written, the model has one digest."""
    shuffled = list(fields.items())
    random.shuffle(shuffled)
    assert digest_of(manifest_of(dict(shuffled))) == digest_of(manifest_of(fields))


@given(identities, identities, st.data())
def test_any_change_of_what_a_model_is_changes_its_digest(
    fields: Fields, others: Fields, data: st.DataObject
) -> None:
    """Two manifests with one differing field are two models."""
    key = data.draw(st.sampled_from(sorted(fields.keys() | others.keys())))
    changed = {name: value for name, value in fields.items() if name != key}
    if key in others:
        changed[key] = others[key]
    same = changed == fields
    assert (digest_of(manifest_of(changed)) == digest_of(manifest_of(fields))) is same


@given(identities, st.integers(1, 1000))
def test_where_it_lies_and_how_it_ranks_do_not(fields: Fields, rank: int) -> None:
    """Sources and rank are not what a model is."""
    placed = fields | {"rank": rank, "sources": [{"type": "path", "folder": "/models"}]}
    assert digest_of(manifest_of(placed)) == digest_of(manifest_of(fields))


@given(identities)
def test_manifests_survive_being_written_down(fields: Fields) -> None:
    """Encoding and decoding changes neither the manifest nor its digest."""
    manifest = manifest_of(fields)
    again = decode_manifest(msgspec.json.encode(manifest))
    assert again == manifest
    assert digest_of(again) == digest_of(manifest)


@given(plain)
def test_canonical_json_loses_nothing(value: object) -> None:
    """The bytes give the value back, and writing that again gives the same bytes."""
    data = canonical_json(value)
    assert json.loads(data) == value
    assert canonical_json(json.loads(data)) == data


@given(st.binary(max_size=200))
def test_random_bytes_are_a_typed_error(data: bytes) -> None:
    """No other exception leaves the decoder."""
    with pytest.raises(ManifestInvalid):
        decode_manifest(data)
