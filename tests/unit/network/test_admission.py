"""What a network asks of a node before it gives it work."""

import pytest
from tests.unit.network.conftest import BUILT, SMALL, BeatMaker

from garage_ai.network.admission import ImageList, Terms
from garage_ai.network.models import EnrolledNode, ImageState, Target
from garage_ai.network.names import Names
from garage_ai.network.registry import Registry, Reread, RoomMade, Tell
from garage_ai.wire.ids import Digest, NodeId, SessionId
from garage_ai.wire.messages import (
    ADMITTED,
    Beat,
    EngineImage,
    ModelServed,
    decode_beat,
    encode_message,
)
from garage_ai.wire.versions import AgentVersion

NODE = EnrolledNode(NodeId("n0"), "mbr_0", "pc0", None)
WALL = 1000.0
PULLED = EngineImage("sha256:" + "9" * 64)


def registry_of(names: Names, terms: Terms) -> Registry:
    """Make a network with one node."""
    registry = Registry(names, terms)
    registry.enrol(NODE)
    return registry


def told(registry: Registry) -> Tell:
    """Let the books have had their word, and give what the owner is told."""
    [effect] = registry.enrol(NODE)
    assert isinstance(effect, Tell)
    return effect


@pytest.mark.parametrize("agent", ["0.2.0", "0.2.1", "0.10.0", "1.0.0"])
def test_an_agent_that_is_new_enough_serves(names: Names, beat: BeatMaker, agent: str) -> None:
    """The minimum itself is new enough."""
    registry = registry_of(names, Terms(min_agent=AgentVersion(0, 2, 0)))
    assert registry.heard(NODE.id, beat(agent=agent), 0.0, WALL) == [RoomMade(Target("small"))]
    assert registry.nodes[NODE.id].refused is None


@pytest.mark.parametrize("agent", ["0.1.9", "0.0.0", "", "0.3", "0.3.0rc1", "9" * 128, "<b>\x1b"])
def test_an_older_one_gets_no_work_and_is_told_what_to_type(
    names: Names, beat: BeatMaker, agent: str
) -> None:
    """What is no version counts as old, and is not repeated to anybody."""
    registry = registry_of(names, Terms(min_agent=AgentVersion(0, 2, 0)))
    assert registry.heard(NODE.id, beat(agent=agent), 0.0, WALL) == [Reread(NODE.id)]
    assert registry.pool("small") is None
    assert registry.nodes[NODE.id].state == "joining"
    said = told(registry)
    assert said.code == "agent_too_old"
    assert "0.2.0" in said.message
    assert said.message.endswith("gai node update")
    assert "<b>" not in said.message


def test_an_update_brings_the_work_back(names: Names, beat: BeatMaker) -> None:
    """A new session of a newer agent is not told of the old one's trouble."""
    registry = registry_of(names, Terms(min_agent=AgentVersion(0, 2, 0)))
    registry.heard(NODE.id, beat(agent="0.1.0"), 0.0, WALL)
    assert told(registry).code == "agent_too_old"
    effects = registry.heard(NODE.id, beat(session="s2", agent="0.2.0"), 5.0, WALL)
    assert RoomMade(Target("small")) in effects
    assert not any(isinstance(effect, Tell) for effect in effects)


def test_no_administrators_word_makes_an_agent_newer(names: Names, beat: BeatMaker) -> None:
    """A node that needs no sandbox, and an owner's own server, need the version all the same."""
    registry = Registry(names, Terms(allow_unsandboxed=True, min_agent=AgentVersion(0, 2, 0)))
    registry.enrol(EnrolledNode(NODE.id, "mbr_0", "pc0", None, bare_allowed=True))
    registry.heard(NODE.id, beat(agent="0.1.0"), 0.0, WALL)
    assert registry.pool("small") is None
    digest = Digest("sha256:" + "c" * 64)
    registry.names.settle("llama3", "mbr_0", digest, "admitted")
    own = (ModelServed("llama3", digest, external=True),)
    registry.heard(NODE.id, Beat(SessionId("s2"), 0, WALL, "ready", own), 5.0, WALL)
    assert registry.pool("llama3") is None


@pytest.mark.parametrize(
    ("image", "images", "state"),
    [
        (BUILT, ImageList(), "built"),
        (PULLED, ImageList(), "pending"),
        (PULLED, ImageList(approved=frozenset({PULLED.digest})), "approved"),
        (PULLED, ImageList(revoked=frozenset({PULLED.digest})), "revoked"),
        (BUILT, ImageList(revoked=frozenset({BUILT.digest})), "revoked"),
        (BUILT, ImageList(revoked=frozenset({BUILT.content or ""})), "revoked"),
        (BUILT, ImageList(revoked=frozenset({"sha256:" + "3" * 64})), "revoked"),
        (EngineImage(PULLED.digest, base=BUILT.digest), ImageList(), "pending"),
        (None, ImageList(), "unknown"),
    ],
)
def test_an_image_is_built_here_or_approved(
    names: Names, beat: BeatMaker, image: EngineImage | None, images: ImageList, state: ImageState
) -> None:
    """A revoked base or content revokes what was built of it; silence is no image."""
    registry = registry_of(names, Terms(images=images))
    registry.heard(NODE.id, beat(image=image), 0.0, WALL)
    assert images.state(image) == state
    serves = state in ("built", "approved")
    assert (registry.pool("small") is not None) is serves
    if not serves:
        assert told(registry).code == "image_not_approved"


def test_an_approval_is_heard_of_at_once(names: Names, beat: BeatMaker) -> None:
    """The pool has the node without a further beat, and the owner learns that it has work."""
    registry = registry_of(names, Terms())
    registry.heard(NODE.id, beat(image=PULLED), 0.0, WALL)
    assert told(registry).message.endswith(f"gai image approve {PULLED.digest}")
    decided = ImageList(approved=frozenset({PULLED.digest}))
    effects = registry.images_are(decided)
    assert RoomMade(Target("small")) in effects
    assert [each.code for each in effects if isinstance(each, Tell)] == [ADMITTED]
    assert registry.images_are(decided) == []


def test_a_revocation_takes_the_work_away_at_once(names: Names, beat: BeatMaker) -> None:
    """One that is silent is not brought back to life by it."""
    registry = registry_of(names, Terms())
    registry.heard(NODE.id, beat(), 0.0, WALL)
    registry.tick(100.0)
    assert registry.nodes[NODE.id].state == "gone"
    assert registry.images_are(ImageList(approved=frozenset({"x"}))) == []
    assert registry.nodes[NODE.id].state == "gone"
    registry.heard(NODE.id, beat(1), 101.0, WALL)
    assert registry.images_are(ImageList(revoked=frozenset({BUILT.digest}))) == [Reread(NODE.id)]
    assert registry.pool("small") is None


def test_a_refused_node_is_looked_up_once_a_session(names: Names, beat: BeatMaker) -> None:
    """Not with each beat: whoever looks at all nodes now and then finds what was decided since."""
    registry = registry_of(names, Terms(min_agent=AgentVersion(0, 2, 0)))
    assert registry.heard(NODE.id, beat(0), 0.0, WALL) == [Reread(NODE.id)]
    assert registry.heard(NODE.id, beat(1), 5.0, WALL) == []
    assert told(registry).code == "agent_too_old"
    assert registry.heard(NODE.id, beat(2), 10.0, WALL) == []
    assert Reread(NODE.id) in registry.heard(NODE.id, beat(0, session="s2"), 15.0, WALL)
    assert registry.heard(NODE.id, beat(1, session="s2"), 20.0, WALL) == []


def test_a_node_without_a_sandbox_is_not_asked_for_its_image(names: Names, beat: BeatMaker) -> None:
    """Whoever may run the engine bare may run it in any container."""
    registry = Registry(names)
    registry.enrol(EnrolledNode(NODE.id, "mbr_0", "pc0", None, bare_allowed=True))
    registry.heard(NODE.id, beat(image=PULLED), 0.0, WALL)
    assert registry.pool("small") is not None


def test_a_beat_of_an_older_agent_is_understood(beat: BeatMaker) -> None:
    """It says no image; and ours is read by whoever knows the field."""
    assert decode_beat(encode_message(beat(image=None))).image is None
    assert decode_beat(encode_message(beat(image=BUILT))).image == BUILT
    assert SMALL.name == decode_beat(encode_message(beat())).models[0].name
