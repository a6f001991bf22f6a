"""Who may serve: an engine in a whole sandbox, or a node that an administrator lets in as it is."""

from dataclasses import replace

import pytest
from tests.unit.network.conftest import SMALL, BeatMaker

from garage_ai.network.admission import Terms
from garage_ai.network.models import EnrolledNode, Target
from garage_ai.network.names import Names
from garage_ai.network.registry import Registry, Reread, RoomMade, Tell
from garage_ai.wire.ids import Digest, NodeId, SessionId
from garage_ai.wire.messages import Beat, ModelServed, decode_beat, encode_message

NODE = EnrolledNode(NodeId("n0"), "mbr_0", "pc0", None)
WALL = 1000.0


@pytest.fixture
def strict(names: Names) -> Registry:
    """A network as it is by default, with one node."""
    registry = Registry(names)
    registry.enrol(NODE)
    return registry


@pytest.mark.parametrize("kind", ["podman", "docker"])
def test_a_whole_sandbox_serves(strict: Registry, beat: BeatMaker, kind: str) -> None:
    """By its own word it is fenced in, and nobody has measured that."""
    strict.heard(NODE.id, beat(sandbox=kind), 0.0, WALL)
    assert strict.pool("small") is not None
    assert strict.nodes[NODE.id].trust == "unverified"


@pytest.mark.parametrize(
    ("kind", "limits", "trust"),
    [
        ("none", False, "unsandboxed"),
        ("none", True, "unsandboxed"),
        ("podman", False, "unverified"),
        ("bubblewrap", True, "unsandboxed"),
        ("", True, "unsandboxed"),
    ],
)
def test_anything_less_is_refused(
    strict: Registry, beat: BeatMaker, kind: str, limits: bool, trust: str
) -> None:
    """No sandbox, one whose limits do not hold, or a word we do not know; the books are asked."""
    effects = strict.heard(NODE.id, beat(sandbox=kind, limits=limits), 0.0, WALL)
    assert effects == [Reread(NODE.id)]
    node = strict.nodes[NODE.id]
    assert strict.pool("small") is None
    assert (node.state, node.trust) == ("joining", trust)


def test_an_older_agent_says_nothing_and_counts_as_without(strict: Registry) -> None:
    """Its beat is understood as ever; only what it does not say is not believed."""
    served = ModelServed("small", SMALL.digest)
    old = Beat(SessionId("s"), 0, WALL, "ready", (served,))
    assert b"sandbox" not in encode_message(old)
    heard = decode_beat(encode_message(old))
    assert strict.heard(NODE.id, heard, 0.0, WALL) == [Reread(NODE.id)]


def test_the_owner_is_told_once_a_session(strict: Registry, beat: BeatMaker) -> None:
    """After the books have had their word, not at each beat."""
    strict.heard(NODE.id, beat(0, sandbox="none"), 0.0, WALL)
    [told] = strict.enrol(NODE)
    assert isinstance(told, Tell)
    assert told.code == "sandbox_needed"
    strict.heard(NODE.id, beat(1, sandbox="none"), 5.0, WALL)
    assert strict.enrol(NODE) == []
    strict.heard(NODE.id, beat(0, session="s2", sandbox="none"), 10.0, WALL)
    assert strict.enrol(NODE) == [told]


def test_an_administrator_lets_a_node_in_at_once(strict: Registry, beat: BeatMaker) -> None:
    """Whether the word comes before its beat or after; another node is none the wiser."""
    strict.heard(NODE.id, beat(sandbox="none"), 0.0, WALL)
    assert strict.enrol(replace(NODE, bare_allowed=True)) == [RoomMade(Target("small"))]
    assert strict.nodes[NODE.id].state == "ready"
    assert strict.nodes[NODE.id].trust == "unsandboxed"
    other = EnrolledNode(NodeId("n1"), "mbr_0", "pc1", None)
    strict.enrol(other)
    assert strict.heard(other.id, beat(sandbox="none"), 0.0, WALL) == [Reread(other.id)]


def test_a_sandbox_that_is_lost_is_noticed(strict: Registry, beat: BeatMaker) -> None:
    """A node that beats without one leaves the choice with that beat."""
    strict.heard(NODE.id, beat(0), 0.0, WALL)
    strict.heard(NODE.id, beat(1, sandbox="none"), 5.0, WALL)
    assert strict.pool("small") is None


def test_the_owners_own_server_needs_none(strict: Registry) -> None:
    """An external engine is admitted as it is, under a name that it has claimed."""
    digest = Digest("sha256:" + "c" * 64)
    served = ModelServed("llama3", digest, external=True)
    strict.names.settle("llama3", NODE.member, digest, "admitted")
    effects = strict.heard(NODE.id, Beat(SessionId("s"), 0, WALL, "ready", (served,)), 0.0, WALL)
    assert effects == [RoomMade(Target("llama3"))]
    assert strict.nodes[NODE.id].trust == "unsandboxed"


def test_a_catalogue_model_cannot_be_called_external_to_get_in(strict: Registry) -> None:
    """Its name belongs to the catalogue, so the claim waits for an administrator."""
    served = ModelServed("small", SMALL.digest, external=True)
    strict.heard(NODE.id, Beat(SessionId("s"), 0, WALL, "ready", (served,)), 0.0, WALL)
    assert strict.pool("small") is None


def test_a_network_may_ask_for_none(names: Names, beat: BeatMaker) -> None:
    """GAI_ALLOW_UNSANDBOXED: every node serves, and is labelled all the same."""
    registry = Registry(names, Terms(allow_unsandboxed=True))
    registry.enrol(NODE)
    assert registry.heard(NODE.id, beat(sandbox="none"), 0.0, WALL) == [RoomMade(Target("small"))]
    assert registry.nodes[NODE.id].trust == "unsandboxed"


def test_a_suspended_members_node_gets_no_work(strict: Registry, beat: BeatMaker) -> None:
    """Until the member is let in again; its owner is told why."""
    strict.heard(NODE.id, beat(sandbox="podman"), 0.0, WALL)
    effects = strict.enrol(replace(NODE, suspended=True))
    assert strict.pool("small") is None
    assert [each.code for each in effects if isinstance(each, Tell)] == ["member_suspended"]
    strict.enrol(NODE)
    assert strict.pool("small") is not None
