"""A node's word on its speed: signed, bounded, and nobody else's."""

import json

import msgspec
import pytest

from garage_ai.wire.benchmarks import (
    MAX_BODY,
    Benchmark,
    Level,
    SignedBenchmark,
    decode_benchmark,
    open_benchmark,
    sign_benchmark,
)
from garage_ai.wire.errors import Malformed
from garage_ai.wire.identity import NodeIdentity
from garage_ai.wire.ids import NodeId
from garage_ai.wire.nkey import KeyPair, NkeyError, Role

NODE = NodeId("nabcdefghijkl")
LEVEL = Level(streams=4, answered=4, failed=0, decode=80.5, prefill=900.0, ttft=0.2, ttft_worst=0.4)
BENCHMARK = Benchmark(
    at=1_795_000_000.0,
    agent="0.1.0",
    engine="llamacpp",
    model="small",
    digest="sha256:" + "a" * 64,
    context=4096,
    slots=8,
    cpu="AMD Ryzen 7 5800X",
    gpus=("NVIDIA GeForce RTX 3090",),
    levels=(LEVEL,),
    seconds=61.0,
    load=2.5,
    round_trip=0.012,
)
BODY = msgspec.to_builtins(BENCHMARK)


def new_identity() -> NodeIdentity:
    return NodeIdentity(KeyPair.generate(Role.USER))


def test_what_is_signed_is_what_is_read() -> None:
    """Every field comes back."""
    identity = new_identity()
    signed = sign_benchmark(identity, NODE, "nonce", BENCHMARK)
    assert open_benchmark(signed, identity.public_key) == BENCHMARK


@pytest.mark.parametrize(
    "change",
    [
        {"node": NodeId("nother")},
        {"nonce": "another"},
        {"body": json.dumps(BODY | {"model": "large"})},
        {"signature": "AAAA"},
    ],
)
def test_nothing_can_be_changed_afterwards(change: dict[str, str]) -> None:
    """The signature covers node, nonce and every byte of the body."""
    identity = new_identity()
    signed = sign_benchmark(identity, NODE, "nonce", BENCHMARK)
    forged: SignedBenchmark = msgspec.structs.replace(signed, **change)
    with pytest.raises(NkeyError):
        open_benchmark(forged, identity.public_key)


def test_another_key_is_another_node() -> None:
    """A node cannot speak for another one."""
    signed = sign_benchmark(new_identity(), NODE, "nonce", BENCHMARK)
    with pytest.raises(NkeyError):
        open_benchmark(signed, new_identity().public_key)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"surprise": 1},
        {"slots": 0},
        {"levels": []},
        {"levels": [BODY["levels"][0]] * 9},
        {"levels": [BODY["levels"][0] | {"decode": -1.0}]},
        {"levels": [BODY["levels"][0] | {"decode": 1e9}]},
        {"levels": [BODY["levels"][0] | {"streams": 10**6}]},
        {"gpus": ["card"] * 17},
        {"cpu": "x" * 201},
        {"digest": "sha256:no"},
        {"seconds": "long"},
        {"at": -1.0},
    ],
)
def test_what_is_out_of_bounds_is_refused(change: dict[str, object]) -> None:
    """A node may claim much, within limits."""
    with pytest.raises(Malformed):
        decode_benchmark(json.dumps(BODY | change))


@pytest.mark.parametrize("text", ["", "null", "[" * 5000, "{}", " " * (MAX_BODY + 1), "\ud800"])
def test_other_text_is_refused(text: str) -> None:
    """Whatever it is, it is one kind of error."""
    with pytest.raises(Malformed):
        decode_benchmark(text)
