"""Which node makes an engine for one job: chat first, the owner's leave, and only by its word."""

from collections.abc import Callable

import msgspec
import pytest
from tests.unit.network.conftest import SMALL, BeatMaker

from garage_ai.network.dedication import Job, candidate, chat_needs, holders
from garage_ai.network.dedications import (
    ANSWER_SECONDS,
    CHAT_SECONDS,
    LEASE_SECONDS,
    LOST_SECONDS,
    PREPARE_SECONDS,
    RENEW_SECONDS,
    WANTED_SECONDS,
    DedicatedView,
    Dedications,
)
from garage_ai.network.models import Replica, Target
from garage_ai.network.registry import Registry
from garage_ai.wire.ids import NodeId
from garage_ai.wire.messages import Beat, Control, Dedicate, Undedicate

N0, N1, N2 = (NodeId(f"n{number}") for number in range(3))
JOB = Job("batch_1", "small", "mbr_9")
Say = Callable[..., None]


@pytest.fixture
def say(registry: Registry, beat: BeatMaker) -> Say:
    """Let a node beat; one that is everybody's would make an engine for a job."""
    said: dict[NodeId, int] = {}

    def heard(node: NodeId, *, job: str = "", share: str = "all", **more: object) -> None:
        said[node] = said.get(node, 0) + 1
        more.setdefault("dedicates", not job)
        told = {name: more.pop(name) for name in ("dedicates",)}
        more.setdefault("state", "dedicated" if job else "ready")
        made: Beat = msgspec.structs.replace(beat(said[node], **more), job=job, share=share, **told)
        registry.heard(node, made, 0.0, 1000.0)

    return heard


def chosen(registry: Registry, job: Job = JOB, **more: object) -> str:
    """Name the node that is chosen, or what stands in the way."""
    usual = {"chat_waits": False, "now": 0.0}
    found = candidate(registry, job, **{**usual, **more})  # type: ignore[arg-type]
    return found.node.id if isinstance(found, Replica) else found


def test_the_idlest_of_those_who_do_it_is_chosen(registry: Registry, say: Say) -> None:
    """Whoever does not say so in its beats, or says it without a sandbox, is never asked."""
    say(N0, running=1)
    say(N1, dedicates=False)
    say(N2)
    assert chosen(registry) == N2
    say(N2, sandbox="none")
    assert chosen(registry) == N0
    say(N0, dedicates=False)
    assert chosen(registry) == "not_possible"


def test_nobody_serves_the_model(registry: Registry) -> None:
    """That is said as it is."""
    assert chosen(registry) == "no_node"


def test_as_many_are_left_to_chats_as_are_taken(registry: Registry, say: Say) -> None:
    """Never the last one; those that were asked and have not answered count as taken."""
    say(N0)
    assert chosen(registry) == "chat_first"
    say(N1)
    assert chosen(registry) == N0
    assert chosen(registry, asked=1) == "chat_first"
    say(N0, job="batch_2")
    assert chosen(registry) == "chat_first"
    say(N2)
    assert chosen(registry) == "chat_first"
    assert chosen(registry, chat_waits=True) == "chat_first"


def test_residency_and_the_owners_word_hold(registry: Registry, say: Say) -> None:
    """A region that is closed, and whom an owner lends it to."""
    say(N0)
    say(N1, share="own")
    region = frozenset({"SE-O"})
    assert chosen(registry, Job("b", "small", "mbr_9", region)) == "not_for_you"
    assert chosen(registry, Job("b", "small", "mbr_1", region)) == N1


def test_who_refused_is_left_alone(registry: Registry, say: Say) -> None:
    """Another is asked, or nobody."""
    say(N0)
    say(N1)
    assert chosen(registry, refused=[N0]) == N1
    assert chosen(registry, refused=[N0, N1]) == "refused"


def test_a_dedicated_node_is_apart(registry: Registry, say: Say) -> None:
    """No chat finds it; its job does, once its engine is there; and back again."""
    say(N0)
    say(N0, job="batch_1", engine="loading")
    assert registry.pool("small") is None
    assert registry.pool("small", "batch_1") is None
    say(N0, job="batch_1")
    assert registry.pool("small") is None
    pool = registry.pool("small", "batch_1")
    assert pool is not None
    assert [replica.node.id for replica in pool] == [N0]
    assert registry.pool("small", "batch_2") is None
    assert holders(registry, "batch_1") == [registry.nodes[N0]]
    say(N0)
    assert registry.jobs == {}
    assert registry.pool("small") is not None


@pytest.mark.parametrize(
    ("state", "job", "sandbox"),
    [("dedicated", "", "podman"), ("ready", "batch_1", "podman"), ("dedicated", "batch_1", "none")],
)
def test_a_node_that_contradicts_itself_serves_nobody(
    registry: Registry, say: Say, state: str, job: str, sandbox: str
) -> None:
    """What it says is hostile input: neither a chat nor a job finds it, nor without a container."""
    say(N0, state=state, job=job, sandbox=sandbox)
    assert (registry.pools, registry.jobs) == ({}, {})


def test_chats_have_a_node_back(registry: Registry, say: Say) -> None:
    """Where one waits, or nobody is left to them."""
    say(N0, job="batch_1")
    assert chat_needs(registry, "small", chat_waits=False)
    say(N1)
    assert not chat_needs(registry, "small", chat_waits=False)
    assert chat_needs(registry, "small", chat_waits=True)


class Desk:
    """Dedications with a clock and nodes that are played."""

    def __init__(self, registry: Registry) -> None:
        self.now = 1000.0
        self.told: list[tuple[NodeId, Control]] = []
        self.chats_wait = False
        self.asked = Dedications(registry, self._tell, self._waits, lambda: self.now)

    def _tell(self, node: NodeId, control: Control) -> None:
        self.told.append((node, control))

    def _waits(self, target: Target) -> bool:
        return self.chats_wait and target == Target("small")

    def look(self, seconds: float = 0.0, *, hungry: bool = True, wants: bool = True) -> object:
        """Let time pass, want it still, look; give what nodes are told."""
        self.now += seconds
        self.told.clear()
        if wants:
            self.asked.want(JOB, hungry=hungry)
        self.asked.look()
        return list(self.told)


ASKED = Dedicate(JOB.id, SMALL.digest, LEASE_SECONDS)


@pytest.fixture
def desk(registry: Registry, say: Say) -> Desk:
    """Two nodes that would do it."""
    say(N0)
    say(N1)
    return Desk(registry)


def test_one_node_is_asked_and_asked_again(desk: Desk, say: Say) -> None:
    """Once, until it answers or does not; then often enough that three may be lost."""
    assert desk.look() == [(N0, ASKED)]
    assert desk.look(ANSWER_SECONDS - 1) == []
    say(N0, job=JOB.id)
    assert desk.look(RENEW_SECONDS) == [(N0, ASKED)]
    assert desk.look(RENEW_SECONDS - 1, hungry=False) == []
    assert desk.look(1.0, hungry=False) == [(N0, ASKED)]
    assert LEASE_SECONDS > 3 * RENEW_SECONDS


def test_who_does_not_answer_is_not_waited_for(desk: Desk) -> None:
    """Another is asked; when all have been, that is what is told."""
    assert desk.look() == [(N0, ASKED)]
    assert desk.look(ANSWER_SECONDS) == [(N1, ASKED)]
    assert desk.look(ANSWER_SECONDS) == []
    assert desk.asked.view(JOB) == DedicatedView("waiting", obstacle="refused")


def test_who_wants_nothing_more_gets_nothing(desk: Desk, say: Say) -> None:
    """A node that is not asked takes itself back; whose requests all run is given no other."""
    desk.look()
    say(N0, job=JOB.id)
    assert desk.look(WANTED_SECONDS + RENEW_SECONDS, wants=False) == []
    desk.look(hungry=False)
    say(N0)
    for _ in range(3):
        assert desk.look(LOST_SECONDS, hungry=False) == []
    assert desk.look() == [(N0, ASKED)]


def test_a_lost_engine_is_not_replaced_at_once(desk: Desk, say: Say) -> None:
    """Its batch may have ended a moment ago, elsewhere."""
    desk.look()
    say(N0, job=JOB.id)
    desk.look(1.0)
    say(N0)
    assert desk.look(1.0) == []
    assert desk.look(LOST_SECONDS) == [(N0, ASKED)]


def test_an_engine_that_never_comes_is_not_waited_for(desk: Desk, say: Say) -> None:
    """Its node may fail to make it, or never mean to; another is asked, and it is told."""
    desk.look()
    say(N0, job=JOB.id, engine="loading")
    for _ in range(int(PREPARE_SECONDS / RENEW_SECONDS)):
        assert desk.look(RENEW_SECONDS) == [(N0, ASKED)]
    assert desk.look(RENEW_SECONDS) == [(N0, Undedicate(JOB.id))]
    assert desk.look(RENEW_SECONDS) == []
    say(N0)
    assert desk.look() == [(N1, ASKED)]


def test_an_engine_that_serves_is_kept_however_long(desk: Desk, say: Say) -> None:
    """Only the time in which it is made is bounded."""
    desk.look()
    say(N0, job=JOB.id)
    for _ in range(2 * int(PREPARE_SECONDS / RENEW_SECONDS)):
        assert desk.look(RENEW_SECONDS) == [(N0, ASKED)]


def test_a_chat_that_waits_has_the_node(desk: Desk, say: Say) -> None:
    """At the next look, and for a while nobody is asked."""
    desk.look()
    say(N0, job=JOB.id)
    desk.look(1.0)
    desk.chats_wait = True
    assert desk.look(1.0) == [(N0, Undedicate(JOB.id))]
    desk.chats_wait = False
    say(N0)
    assert desk.look(CHAT_SECONDS - 1) == []
    assert desk.look(LOST_SECONDS) == [(N0, ASKED)]


def test_a_batch_that_is_over_leaves_nothing(desk: Desk, say: Say) -> None:
    """Whichever gateway ends it tells the nodes, also one that never asked."""
    say(N1, job=JOB.id)
    desk.asked.end(JOB.id)
    assert desk.told == [(N1, Undedicate(JOB.id))]


def test_it_is_told_how_a_job_stands(desk: Desk, say: Say) -> None:
    """Asked, being made, there; or why not."""
    assert desk.asked.view(JOB) == DedicatedView("waiting")
    say(N0, job=JOB.id, engine="loading")
    assert desk.asked.view(JOB) == DedicatedView("preparing", (N0,))
    say(N0, job=JOB.id)
    assert desk.asked.view(JOB) == DedicatedView("ready", (N0,))
    desk.chats_wait = True
    other = Job("batch_2", "small", "mbr_9")
    assert desk.asked.view(other) == DedicatedView("waiting", obstacle="chat_first")
