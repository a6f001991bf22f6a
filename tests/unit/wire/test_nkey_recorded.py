"""Our keys against what the `nkeys` package (0.2.1) made of the same raw seeds."""

import json
from pathlib import Path

import pytest

from garage_ai.wire.nkey import KeyPair, Role, verify

RECORDED = json.loads((Path(__file__).parent / "recorded_nkeys.json").read_text())


@pytest.mark.parametrize("record", RECORDED, ids=lambda record: record["public"][:6])
def test_seed_key_and_signature_are_the_same(record: dict[str, str]) -> None:
    """Ed25519 is deterministic, so each byte agrees."""
    role = Role[record["role"].upper()]
    pair = KeyPair.from_seed(record["seed"], role)
    assert (pair.seed(), pair.public) == (record["seed"], record["public"])
    assert pair.sign(b"text").hex() == record["signature_of_text"]
    verify(record["public"], role, b"text", bytes.fromhex(record["signature_of_text"]))
