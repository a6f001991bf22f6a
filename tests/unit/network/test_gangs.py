"""Who earns for a gang's answer, whatever its leader says."""

from dataclasses import replace

import msgspec
import pytest
from tests.parts.gangs import Keys, keys_of, signed, terms_among
from tests.unit.network.conftest import LARGE, SMALL, BeatMaker

from garage_ai.cli.reason_words import in_swedish
from garage_ai.network.admission import Terms
from garage_ai.network.gangs import Part, parts_of
from garage_ai.network.registry import Registry, Reread, Tell
from garage_ai.wire.ids import NodeId
from garage_ai.wire.messages import ADMITTED, EngineImage
from garage_ai.wire.versions import AgentVersion

N0, N1, N2 = NodeId("n0"), NodeId("n1"), NodeId("n2")
TERMS = terms_among({N0: 5, N1: 3, N2: 2}, SMALL.digest)
ALONE = (Part(N0, 1),)


@pytest.fixture
def keys(registry: Registry) -> Keys:
    """The keys that the three nodes are enrolled with."""
    keys = keys_of(N0, N1, N2)
    for node, key in keys.items():
        enrol(registry, node, public_key=key.public)
    return keys


def enrol(registry: Registry, node: NodeId, **news: object) -> None:
    """Let the books say something new of a node."""
    registry.enrol(replace(registry.nodes[node].enrolled, **news))  # type: ignore[arg-type]


def leads(registry: Registry, beat: BeatMaker, document: bytes, seq: int = 0) -> None:
    """Let the first node serve and show a document."""
    said = msgspec.structs.replace(beat(seq), gang=document)
    registry.heard(N0, said, 10.0 + seq, 1000.0)


def test_each_rig_that_signed_has_its_parts(
    registry: Registry, beat: BeatMaker, keys: Keys
) -> None:
    """The leader first, whose answer it is."""
    leads(registry, beat, signed(TERMS, keys))
    assert parts_of(registry, N0, SMALL.digest) == (Part(N0, 5), Part(N1, 3), Part(N2, 2))


def test_a_node_on_its_own_earns_alone(registry: Registry, beat: BeatMaker) -> None:
    """And one that is not here does not."""
    leads(registry, beat, b"")
    assert parts_of(registry, N0, SMALL.digest) == ALONE
    assert parts_of(registry, NodeId("nobody"), SMALL.digest) == ()


def test_a_leader_can_name_nobody_who_did_not_sign(
    registry: Registry, beat: BeatMaker, keys: Keys
) -> None:
    """Neither with no signature, nor with its own, nor with one under other terms."""
    other = terms_among({N0: 1, N1: 1}, SMALL.digest)
    wrong: list[Keys] = [{}, {N1: keys[N0]}]
    for of_n1 in wrong:
        leads(registry, beat, signed(TERMS, {**keys, N1: keys[N2], **of_n1}))
        assert parts_of(registry, N0, SMALL.digest) == (Part(N0, 8), Part(N2, 2))
    _, document = signed(TERMS, keys), signed(other, keys)
    moved = msgspec.msgpack.decode(document)
    moved["terms"] = msgspec.msgpack.decode(signed(terms_among({N0: 1, N1: 9}, SMALL.digest), {}))[
        "terms"
    ]
    leads(registry, beat, msgspec.msgpack.encode(moved), seq=1)
    assert parts_of(registry, N0, SMALL.digest) == ALONE


def test_a_gang_is_its_leaders_alone(registry: Registry, beat: BeatMaker, keys: Keys) -> None:
    """Another node that shows its document, or another model, is not shared by it."""
    registry.heard(N1, msgspec.structs.replace(beat(), gang=signed(TERMS, keys)), 10.0, 1000.0)
    assert parts_of(registry, N1, SMALL.digest) == (Part(N1, 1),)
    leads(registry, beat, signed(TERMS, keys))
    assert parts_of(registry, N0, LARGE.digest) == ALONE
    assert parts_of(registry, N0) == parts_of(registry, N0, SMALL.digest) != ALONE


def test_a_leader_has_to_sign_too(registry: Registry, beat: BeatMaker, keys: Keys) -> None:
    """What it did not agree to is not shared."""
    leads(registry, beat, signed(TERMS, {N1: keys[N1], N2: keys[N2]}))
    assert parts_of(registry, N0, SMALL.digest) == ALONE


def test_who_may_not_work_does_not_earn(registry: Registry, beat: BeatMaker, keys: Keys) -> None:
    """The part of a rig that was removed, or whose member is suspended, is the leader's."""
    leads(registry, beat, signed(TERMS, keys))
    enrol(registry, N1, suspended=True)
    registry.remove(N2)
    assert parts_of(registry, N0, SMALL.digest) == (Part(N0, 10),)


def test_a_new_key_signs_anew(registry: Registry, beat: BeatMaker, keys: Keys) -> None:
    """What the old one had signed no longer counts."""
    leads(registry, beat, signed(TERMS, keys))
    fresh = {**keys, **keys_of(N1)}
    enrol(registry, N1, public_key=fresh[N1].public)
    assert parts_of(registry, N0, SMALL.digest) == (Part(N0, 8), Part(N2, 2))
    leads(registry, beat, signed(TERMS, fresh), seq=1)
    assert parts_of(registry, N0, SMALL.digest) == (Part(N0, 5), Part(N1, 3), Part(N2, 2))


def test_what_a_gang_answered_is_shared_once_it_has_ended(
    registry: Registry, beat: BeatMaker, keys: Keys
) -> None:
    """Until its leader serves again, in another gang or alone."""
    leads(registry, beat, signed(TERMS, keys))
    registry.heard(N0, beat(1, engine="loading"), 12.0, 1000.0)
    assert len(parts_of(registry, N0, SMALL.digest)) == 3
    leads(registry, beat, b"", seq=2)
    assert parts_of(registry, N0, SMALL.digest) == ALONE


@pytest.mark.parametrize("document", [b"\x00", b"\xff" * 4000])
def test_nonsense_shares_nothing(registry: Registry, beat: BeatMaker, document: bytes) -> None:
    """And does not stop the node's beat."""
    leads(registry, beat, document)
    assert registry.nodes[N0].state == "ready"
    assert parts_of(registry, N0, SMALL.digest) == ALONE


OLD = Terms(min_agent=AgentVersion(0, 2, 0))


@pytest.mark.parametrize(
    ("asks", "said", "words"),
    [
        (OLD, {"agent": "0.1.0"}, "this one is version 0.1.0"),
        (Terms(), {"sandbox": "none"}, "only from engines in a sandbox"),
        (Terms(), {"image": EngineImage("sha256:" + "9" * 64)}, "is not approved yet"),
    ],
    ids=["agent", "sandbox", "image"],
)
def test_every_rig_is_asked_for_what_its_leader_is(
    registry: Registry, beat: BeatMaker, asks: Terms, said: dict[str, object], words: str
) -> None:
    """A gang gets no work while one of them may not; its leader's owner is told which and why."""
    registry.terms = asks
    document = signed(TERMS, {})
    leader = msgspec.structs.replace(beat(agent="0.2.0"), gang=document)
    registry.heard(N0, leader, 10.0, 1000.0)
    assert registry.pool("small") is not None, "whoever was not heard of yet is not waited for"
    rank = msgspec.structs.replace(beat(**{"agent": "0.2.0", **said}), state="joining", models=())
    registry.heard(N1, rank, 10.0, 1000.0)
    effects = registry.heard(N0, msgspec.structs.replace(leader, seq=1), 12.0, 1000.0)
    assert registry.pool("small") is None
    assert {Reread(N0), Reread(N1)} <= set(effects)
    [told] = registry.enrol(registry.nodes[N0].enrolled)
    assert isinstance(told, Tell)
    assert told.code == "rig_refused"
    assert told.message.startswith("n1: ")
    assert words in told.message
    assert in_swedish(told.message) != told.message
    registry.heard(N1, msgspec.structs.replace(beat(1, agent="0.2.0"), models=()), 13.0, 1000.0)
    again = registry.heard(N0, msgspec.structs.replace(leader, seq=2), 14.0, 1000.0)
    assert ADMITTED in [each.code for each in again if isinstance(each, Tell)]
    assert registry.pool("small") is not None


def test_a_rig_that_an_administrator_lets_in_may_be_bare(
    registry: Registry, beat: BeatMaker
) -> None:
    """As a node that answers may."""
    rank = msgspec.structs.replace(beat(sandbox="none"), models=())
    registry.heard(N1, rank, 10.0, 1000.0)
    leads(registry, beat, signed(TERMS, {}))
    assert registry.pool("small") is None
    enrol(registry, N1, bare_allowed=True)
    leads(registry, beat, signed(TERMS, {}), seq=1)
    assert registry.pool("small") is not None
