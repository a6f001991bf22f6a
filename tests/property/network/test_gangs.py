"""Whatever a leader says, nobody earns who did not sign, and the parts are the whole."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.parts.gangs import Keys, keys_of, signed, terms_among

from garage_ai.network.gangs import Part, parts_of
from garage_ai.network.models import EnrolledNode
from garage_ai.network.names import Names
from garage_ai.network.registry import Registry
from garage_ai.wire.gangs import MAX_PARTS, MAX_RIGS, read_document
from garage_ai.wire.ids import NodeId
from garage_ai.wire.messages import MAX_GANG

DIGEST = "sha256:" + "d" * 64
NODES = [NodeId(f"n{number}") for number in range(MAX_RIGS)]
KEYS = keys_of(*NODES)
STRANGERS = keys_of(*NODES)
RIGS = st.lists(st.integers(1, MAX_PARTS), min_size=2, max_size=MAX_RIGS)


def network(document: bytes) -> Registry:
    """Give a network of all nodes in which the first leads."""
    registry = Registry(Names([]))
    for node in NODES:
        registry.enrol(EnrolledNode(node, "mbr", node, None, public_key=KEYS[node].public))
    registry.nodes[NODES[0]].gang = document
    return registry


@given(RIGS, st.lists(st.sampled_from(["own", "another", "none"]), min_size=16, max_size=16))
def test_only_who_signed_earns(parts: list[int], hands: list[str]) -> None:
    """Each its own parts, and the leader all that is left of the whole."""
    rigs = dict(zip(NODES, parts, strict=False))
    by = dict(zip(NODES, hands, strict=True))
    keys: Keys = {
        node: (KEYS if by[node] == "own" else STRANGERS)[node]
        for node in rigs
        if by[node] != "none"
    }
    found = parts_of(network(signed(terms_among(rigs, DIGEST), keys)), NODES[0], DIGEST)
    if by[NODES[0]] != "own":
        assert found == (Part(NODES[0], 1),)
        return
    assert found[1:] == tuple(
        [Part(node, rigs[node]) for node in list(rigs)[1:] if by[node] == "own"]
    )
    assert sum(part.parts for part in found) == sum(parts)


@given(st.binary(max_size=MAX_GANG))
def test_nonsense_is_the_leaders_own(document: bytes) -> None:
    """And breaks nothing."""
    assert parts_of(network(document), NODES[0], DIGEST) == (Part(NODES[0], 1),)


@given(RIGS, st.integers(0, 500), st.integers(0, 255))
def test_terms_of_which_a_byte_was_changed_are_nobodys(
    parts: list[int], place: int, byte: int
) -> None:
    """What the rigs signed is what counts, to the last bit."""
    document = signed(terms_among(dict(zip(NODES, parts, strict=False)), DIGEST), KEYS)
    _, told = read_document(document)
    terms = bytearray(told.terms)
    place %= len(terms)
    if terms[place] == byte:
        return
    terms[place] = byte
    changed = msgspec.msgpack.encode(msgspec.structs.replace(told, terms=bytes(terms)))
    assert parts_of(network(changed), NODES[0], DIGEST) == (Part(NODES[0], 1),)
