"""Beats and time turn nodes' states and fill the pools."""

import msgspec
import pytest
from tests.unit.network.conftest import LARGE, SMALL, BeatMaker

from garage_ai.network.breaker import MOST_ANEW
from garage_ai.network.models import EnrolledNode, Node, Target
from garage_ai.network.names import KnownClaim, KnownModel
from garage_ai.network.pace import BURST, PER_SECOND
from garage_ai.network.registry import (
    GONE_AFTER,
    SUSPECT_AFTER,
    Claim,
    Registry,
    RoomMade,
    Supersede,
    Tell,
)
from garage_ai.wire.ids import Digest, NodeId, SessionId
from garage_ai.wire.messages import Beat, ModelServed

N0, N1, N2 = NodeId("n0"), NodeId("n1"), NodeId("n2")
WALL = 1000.0


def node(registry: Registry, node_id: NodeId = N0) -> Node:
    """Give a node of the registry."""
    return registry.nodes[node_id]


def serving(registry: Registry, name: str = "small") -> set[str]:
    """Give the nodes that can be chosen for a model."""
    return {replica.node.id for replica in registry.pool(name) or ()}


def test_a_ready_beat_brings_a_node_into_choice(registry: Registry, beat: BeatMaker) -> None:
    """The first beat makes room."""
    assert registry.heard(N0, beat(), 10.0, WALL) == [RoomMade(Target("small"))]
    assert node(registry).state == "ready"
    assert serving(registry) == {N0}


@pytest.mark.parametrize("state", ["joining", "draining", "paused", "gone", "no such state"])
def test_a_node_that_does_not_serve_is_no_choice(
    registry: Registry, beat: BeatMaker, state: str
) -> None:
    """Any state but ready takes the node out at once."""
    registry.heard(N0, beat(0), 10.0, WALL)
    registry.heard(N0, beat(1, state=state), 11.0, WALL)
    assert node(registry).state == (state if state != "no such state" else "joining")
    assert registry.pool("small") is None


def test_another_catalogue_is_known_at_once(registry: Registry, beat: BeatMaker) -> None:
    """A model that was added needs no claim from then on, one that was taken out does."""
    own = KnownModel("own", Digest("sha256:" + "c" * 64), "chat", 8192, rank=99)
    [asked] = registry.heard(N0, beat(model=own), 10.0, WALL)
    assert isinstance(asked, Claim)
    assert registry.catalogue_is([SMALL, own]) == [RoomMade(Target("own"))]
    assert serving(registry, "own") == {N0}
    assert registry.names.best_chat({"own": 1, "small": 9}) == "own"
    assert registry.catalogue_is([SMALL]) == [Claim(N0, "mbr_0", "own", own.digest)]
    assert serving(registry, "own") == set()
    assert registry.settle(asked, admitted=True) == [RoomMade(Target("own"))]


def test_a_claimed_name_that_the_catalogue_takes_is_decided_anew(
    registry: Registry, beat: BeatMaker
) -> None:
    """Whoever served something else under it needs an administrator's word; other names stay."""
    mine = KnownModel("own", Digest("sha256:" + "d" * 64), "chat", 8192, rank=0)
    theirs = KnownModel("theirs", Digest("sha256:" + "e" * 64), "chat", 8192, rank=0)
    for node_id, model in ((N0, mine), (N1, theirs)):
        [asked] = registry.heard(node_id, beat(model=model), 10.0, WALL)
        assert isinstance(asked, Claim)
        registry.settle(asked, admitted=True)
    added = KnownModel("own", Digest("sha256:" + "c" * 64), "chat", 8192, rank=0)
    [again] = [each for each in registry.catalogue_is([added]) if isinstance(each, Claim)]
    assert again == Claim(N0, "mbr_0", "own", mine.digest)
    assert (serving(registry, "own"), serving(registry, "theirs")) == (set(), {N1})
    registry.settle(again, admitted=False)
    assert registry.pool("own") is None


def test_a_silent_node_is_judged_by_its_next_beat(registry: Registry, beat: BeatMaker) -> None:
    """A new catalogue does not bring it back to life."""
    registry.heard(N0, beat(), 10.0, WALL)
    registry.tick(10.0 + GONE_AFTER + 1)
    assert registry.catalogue_is([SMALL]) == []
    assert node(registry).state == "gone"


def test_a_loading_engine_is_no_choice(registry: Registry, beat: BeatMaker) -> None:
    """A node whose only engine still loads is joining."""
    registry.heard(N0, beat(engine="loading"), 10.0, WALL)
    assert node(registry).state == "joining"
    assert registry.pool("small") is None


def test_a_node_that_speaks_no_version_of_ours_waits(registry: Registry, beat: BeatMaker) -> None:
    """Nodes from the future or the past are kept out of choice."""
    registry.heard(N0, beat(versions=(7, 8)), 10.0, WALL)
    assert node(registry).state == "joining"


def test_three_missed_beats_make_suspect_and_a_minute_gone(
    registry: Registry, beat: BeatMaker
) -> None:
    """Silence takes a node out of choice, then off the list of the living; a beat heals it."""
    registry.heard(N0, beat(0), 0.0, WALL)
    registry.tick(SUSPECT_AFTER - 0.1)
    assert node(registry).state == "ready"
    registry.tick(SUSPECT_AFTER + 0.1)
    assert node(registry).state == "suspect"
    assert registry.pool("small") is None
    registry.tick(GONE_AFTER + 0.1)
    assert node(registry).state == "gone"
    registry.heard(N0, beat(1), GONE_AFTER + 5, WALL)
    assert node(registry).state == "ready"


def test_a_node_lost_by_a_request_is_suspect_until_it_beats(
    registry: Registry, beat: BeatMaker
) -> None:
    """A request notices sooner than three beats do."""
    registry.heard(N0, beat(0), 0.0, WALL)
    registry.lost(N0, 3.0)
    assert node(registry).state == "suspect"
    registry.heard(N0, beat(1), 5.0, WALL)
    assert serving(registry) == {N0}


def test_a_replayed_beat_changes_nothing(registry: Registry, beat: BeatMaker) -> None:
    """A beat of the same session that is not newer is ignored."""
    registry.heard(N0, beat(5), 0.0, WALL)
    for seq in (5, 4, 0):
        assert registry.heard(N0, beat(seq, state="gone"), 1.0, WALL) == []
    assert node(registry).state == "ready"
    assert node(registry).last_beat == 0.0


def test_a_new_session_replaces_the_old_and_says_so(registry: Registry, beat: BeatMaker) -> None:
    """Two agents with one identity: the newer wins, the older is told and no longer heard."""
    registry.heard(N0, beat(7, session="old"), 0.0, WALL)
    effects = registry.heard(N0, beat(0, session="new"), 1.0, WALL)
    assert Supersede(N0, SessionId("old")) in effects
    assert registry.heard(N0, beat(8, session="old"), 2.0, WALL) == []
    assert node(registry).session == "new"


def test_a_node_that_began_anew_gets_its_trial_at_once(registry: Registry, beat: BeatMaker) -> None:
    """Killed again and again it is left alone; its next process is tried, with one request."""
    registry.heard(N0, beat(0, session="old"), 0.0, WALL)
    breaker = node(registry).breaker
    for moment in (1.0, 2.0, 3.0):
        breaker.failed(moment, moment)
    assert not breaker.allows(4.0)
    registry.heard(N0, beat(0, session="new"), 4.0, WALL)
    assert breaker.allows(4.0)
    breaker.started()
    assert not breaker.allows(4.0)
    breaker.failed(5.0, 4.5)
    assert not breaker.allows(14.0)


def test_a_node_that_begins_anew_and_fails_again_and_again_waits_like_others(
    registry: Registry, beat: BeatMaker
) -> None:
    """It may say with each beat that it is another; an answer makes it as good as new."""
    breaker = node(registry).breaker
    for moment in (1.0, 2.0, 3.0):
        breaker.failed(moment, moment)
    tried = 0
    for number in range(10):
        now = 4.0 + number
        registry.heard(N0, beat(0, session=f"s{number}"), now, WALL)
        if breaker.allows(now):
            tried += 1
            breaker.started()
            breaker.failed(now + 0.5, now)
    assert tried == MOST_ANEW
    assert not breaker.allows(14.0)
    breaker.succeeded()
    for moment in (21.0, 22.0, 23.0):
        breaker.failed(moment, moment)
    assert not breaker.allows(24.0)
    registry.heard(N0, beat(0, session="anew"), 24.0, WALL)
    assert breaker.allows(24.0)


def test_a_wrong_clock_is_told_once_and_changes_nothing(
    registry: Registry, beat: BeatMaker
) -> None:
    """A node an hour off serves like any other; its owner hears of it."""
    first = registry.heard(N0, beat(0, sent_at=WALL - 3600), 0.0, WALL)
    again = registry.heard(N0, beat(1, sent_at=WALL - 3600), 5.0, WALL)
    assert [effect.code for effect in first if isinstance(effect, Tell)] == ["clock_wrong"]
    assert not [effect for effect in again if isinstance(effect, Tell)]
    assert node(registry).clock_skew == -3600
    assert serving(registry) == {N0}


def test_slots_bound_a_replica(registry: Registry, beat: BeatMaker) -> None:
    """With as many requests out as it has slots a replica has no room; a release makes some."""
    registry.heard(N0, beat(slots=2), 0.0, WALL)
    pool = registry.pool("small")
    assert pool is not None
    [replica] = list(pool)
    registry.acquire(replica)
    registry.acquire(replica)
    assert pool.free() == []
    assert registry.release(replica) == [RoomMade(Target("small"))]
    assert registry.release(replica) == []
    with pytest.raises(AssertionError):
        registry.release(replica)


def test_a_context_is_no_longer_than_the_models(registry: Registry, beat: BeatMaker) -> None:
    """What a request may cost goes by the longest: one node's word would make it unpayable."""
    for seq, (said, taken) in enumerate([(1 << 50, 8192), (4096, 4096), (0, None)]):
        told = beat(seq)
        model = msgspec.structs.replace(told.models[0], context=said)
        registry.heard(N0, msgspec.structs.replace(told, models=(model,)), 10.0 + seq, WALL)
        pool = registry.pool("small")
        assert pool is not None
        assert (pool.context or None) == taken


def test_a_beat_that_changes_nothing_makes_no_room(registry: Registry, beat: BeatMaker) -> None:
    """Who waits has been through it; what a request is chosen by makes room when it changes."""
    made = [RoomMade(Target("small"))]
    assert registry.heard(N0, beat(0), 0.0, WALL) == made
    pool = registry.pool("small")
    assert registry.heard(N0, beat(1, running=1, speed=9.0), 5.0, WALL) == []
    assert registry.pool("small") is pool
    assert registry.heard(N0, beat(2, slots=4), 10.0, WALL) == made
    lent = msgspec.structs.replace(beat(3, slots=4), share="members")
    assert registry.heard(N0, lent, 15.0, WALL) == made
    moved = EnrolledNode(N0, "mbr_0", "pc0", "SE-M")
    assert registry.enrol(moved) == made
    assert registry.enrol(EnrolledNode(N0, "mbr_0", "pc0", "SE-M")) == []


def test_a_beat_after_a_node_said_busy_makes_room(registry: Registry, beat: BeatMaker) -> None:
    """Its word is forgotten with the beat, and so is a trial that it might be given in need."""
    made = [RoomMade(Target("small"))]
    registry.heard(N0, beat(0), 0.0, WALL)
    [replica] = node(registry).replicas.values()
    replica.said_busy("chat", 1.0)
    assert registry.heard(N0, beat(1), 2.0, WALL) == made
    assert registry.heard(N0, beat(2), 7.0, WALL) == []
    for moment in (8.0, 9.0, 10.0):
        node(registry).breaker.failed(moment, moment)
    assert registry.heard(N0, beat(3), 12.0, WALL) == made
    assert registry.heard(N0, beat(4), 17.0, WALL) == made


def test_requests_of_other_gateways_count(registry: Registry, beat: BeatMaker) -> None:
    """What a beat shows beyond this gateway's own requests is taken off the room."""
    registry.heard(N0, beat(0, slots=4), 0.0, WALL)
    pool = registry.pool("small")
    assert pool is not None
    [replica] = list(pool)
    registry.acquire(replica)
    registry.heard(N0, beat(1, slots=4, running=3), 5.0, WALL)
    assert (replica.inflight, replica.others, replica.load) == (1, 2, 3)
    registry.heard(N0, beat(2, slots=4, running=0), 10.0, WALL)
    assert replica.load == 1


def test_a_drain_holds_until_the_node_itself_says_so(registry: Registry, beat: BeatMaker) -> None:
    """The administrator's word counts at once and through beats that were under way."""
    registry.heard(N0, beat(0), 0.0, WALL)
    registry.drain(N0, on=True)
    assert registry.pool("small") is None
    registry.heard(N0, beat(1), 1.0, WALL)
    assert node(registry).state == "draining"
    registry.heard(N0, beat(2, state="draining"), 2.0, WALL)
    registry.heard(N0, beat(3), 3.0, WALL)
    assert node(registry).state == "ready"


def test_a_removed_node_is_forgotten(registry: Registry, beat: BeatMaker) -> None:
    """Its later beats change nothing."""
    registry.heard(N0, beat(0), 0.0, WALL)
    registry.remove(N0)
    assert registry.pool("small") is None
    assert registry.heard(N0, beat(1), 1.0, WALL) == []


def test_a_catalogue_digest_under_another_name_is_not_served(registry: Registry) -> None:
    """A node cannot rename a model of the catalogue."""
    served = ModelServed("my-model", SMALL.digest)
    registry.heard(N0, Beat(SessionId("s"), 0, WALL, "ready", (served,)), 0.0, WALL)
    assert registry.pool("my-model") is None
    assert registry.pool("small") is None


def test_a_name_of_its_own_must_be_claimed(registry: Registry) -> None:
    """An external model is served once the books admit the name."""
    digest = Digest("sha256:" + "c" * 64)
    served = ModelServed("llama3", digest, external=True)
    effects = registry.heard(N0, Beat(SessionId("s"), 0, WALL, "ready", (served,)), 0.0, WALL)
    claim = Claim(N0, "mbr_0", "llama3", digest)
    assert effects == [claim]
    assert registry.pool("llama3") is None
    assert registry.settle(claim, admitted=True) == [RoomMade(Target("llama3"))]
    assert serving(registry, "llama3") == {N0}


def test_a_name_is_its_members_alone(registry: Registry) -> None:
    """Another member's node that tells the same name and digest must claim them as well."""
    digest = Digest("sha256:" + "c" * 64)
    served = ModelServed("llama3", digest, external=True)
    [claim] = registry.heard(N0, Beat(SessionId("s"), 0, WALL, "ready", (served,)), 0.0, WALL)
    assert isinstance(claim, Claim)
    registry.settle(claim, admitted=True)
    registry.enrol(EnrolledNode(N2, "mbr_other", "stranger", None))
    beat = Beat(SessionId("t"), 0, WALL, "ready", (served,))
    assert registry.heard(N2, beat, 0.0, WALL) == [Claim(N2, "mbr_other", "llama3", digest)]
    assert serving(registry, "llama3") == {N0}


def test_a_name_that_is_taken_is_told_to_the_owner(registry: Registry) -> None:
    """A pending claim is not served nor made again; the owner is told once a session."""
    digest = Digest("sha256:" + "c" * 64)
    served = ModelServed("small", digest, external=True)
    first = Beat(SessionId("s"), 0, WALL, "ready", (served,))
    [claim] = registry.heard(N0, first, 0.0, WALL)
    assert isinstance(claim, Claim)
    [told] = registry.settle(claim, admitted=False)
    assert isinstance(told, Tell)
    assert told.code == "model_name_taken"
    second = Beat(SessionId("s"), 1, WALL, "ready", (served,))
    assert registry.heard(N0, second, 5.0, WALL) == []
    assert registry.settle(claim, admitted=False) == []
    assert registry.pool("small") is None
    another = Beat(SessionId("s2"), 0, WALL, "ready", (served,))
    effects = registry.heard(N0, another, 9.0, WALL)
    assert (told in effects, claim in effects) == (True, False)
    assert registry.settle(claim, admitted=False) == []


def test_a_name_that_is_taken_is_told_once_whatever_is_behind_it(registry: Registry) -> None:
    """A node may say another digest in each beat: neither notices nor memory grow with it."""
    told = list[object]()
    for number in range(20):
        served = ModelServed("small", f"sha256:{number:064x}", external=True)
        beat = Beat(SessionId("s"), number, WALL, "ready", (served,))
        [claim] = registry.heard(N0, beat, float(number), WALL)
        assert isinstance(claim, Claim)
        told += registry.settle(claim, admitted=False)
    assert len(told) == 1
    assert registry._told == {N0: {"small"}}


def known(claim: Claim, *, admitted: bool, by_admin: bool = False) -> KnownClaim:
    """Give a claim as the books have it."""
    return KnownClaim(claim.name, claim.member, claim.digest, admitted=admitted, by_admin=by_admin)


def test_a_gateway_that_begins_claims_nothing_anew(registry: Registry) -> None:
    """What the books have, approved or not, it has from them; but for a name that was lost."""
    digest = Digest("sha256:" + "c" * 64)
    claims = [Claim(N0, "mbr_0", name, digest) for name in ("llama3", "theirs", "small")]
    said = [known(each, admitted=each.name != "theirs") for each in claims]
    assert registry.claims_are(said, before={}) == []
    assert registry.names.is_known("llama3")
    assert not registry.names.is_known("theirs")
    served = (ModelServed("llama3", digest, external=True),)
    first = Beat(SessionId("s"), 0, WALL, "ready", served)
    assert registry.heard(N0, first, 0.0, WALL) == [RoomMade(Target("llama3"))]
    pending = (ModelServed("theirs", digest, external=True),)
    [told] = registry.heard(N0, Beat(SessionId("s"), 1, WALL, "ready", pending), 5.0, WALL)
    assert isinstance(told, Tell)
    lost = (ModelServed("small", digest, external=True),)
    assert registry.heard(N0, Beat(SessionId("s"), 2, WALL, "ready", lost), 10.0, WALL) == [
        Claim(N0, "mbr_0", "small", digest)
    ]


def test_what_the_books_say_of_claims_is_taken_over(registry: Registry) -> None:
    """Withdrawn elsewhere a name is claimed anew; one decided here meanwhile is not judged."""
    digest, other = Digest("sha256:" + "c" * 64), Digest("sha256:" + "d" * 64)
    served = ModelServed("llama3", digest, external=True)
    [claim] = registry.heard(N0, Beat(SessionId("s"), 0, WALL, "ready", (served,)), 0.0, WALL)
    assert isinstance(claim, Claim)
    before = registry.names.claims
    registry.settle(claim, admitted=True)
    assert registry.claims_are([], before) == []
    assert serving(registry, "llama3") == {N0}
    same = known(Claim(N0, "mbr_0", "llama3", other), admitted=True)
    assert registry.claims_are([same], registry.names.claims) == []
    assert serving(registry, "llama3") == {N0}
    [told] = registry.claims_are([known(claim, admitted=False)], registry.names.claims)
    assert isinstance(told, Tell)
    assert serving(registry, "llama3") == set()
    assert registry.claims_are([], registry.names.claims) == [claim]


def test_a_name_that_was_approved_is_served_when_the_books_are_looked_at(
    registry: Registry,
) -> None:
    """Whoever approved it, here or at another gateway: no beat asks for it."""
    digest = Digest("sha256:" + "c" * 64)
    served = ModelServed("small", digest, external=True)
    [claim] = registry.heard(N0, Beat(SessionId("s"), 0, WALL, "ready", (served,)), 0.0, WALL)
    assert isinstance(claim, Claim)
    registry.settle(claim, admitted=False)
    assert registry.heard(N0, Beat(SessionId("s"), 1, WALL, "ready", (served,)), 5.0, WALL) == []
    approved = known(claim, admitted=True, by_admin=True)
    made = [RoomMade(Target("small"))]
    assert registry.claims_are([approved], registry.names.claims) == made
    assert serving(registry) == {N0}
    third = Beat(SessionId("s"), 2, WALL, "ready", (served,))
    assert claim not in registry.heard(N0, third, 10.0, WALL)


def test_the_alias_name_can_never_be_claimed(registry: Registry) -> None:
    """`garage-chat` belongs to the network."""
    served = ModelServed("garage-chat", "sha256:" + "d" * 64, external=True)
    beat = Beat(SessionId("s"), 0, WALL, "ready", (served,))
    assert registry.heard(N0, beat, 0.0, WALL) == []
    assert registry.pool("garage-chat") is None


def test_the_best_chat_model_is_the_highest_ranked_that_is_served(
    registry: Registry, beat: BeatMaker
) -> None:
    """The catalogue's rank comes before the number of slots."""
    assert registry.names.best_chat({"small": 100, "large": 1}) == "large"
    assert registry.names.best_chat({"small": 1, "llama3": 100}) == "small"
    assert registry.names.best_chat({}) is None
    assert LARGE.rank > SMALL.rank


def test_a_change_in_the_books_keeps_what_was_heard(registry: Registry, beat: BeatMaker) -> None:
    """A node whose entry changes goes on serving."""
    registry.heard(N1, beat(), 0.0, WALL)
    registry.enrol(EnrolledNode(N1, "mbr_1", "renamed", "SE-O"))
    assert serving(registry) == {N1}
    assert node(registry, N1).enrolled.name == "renamed"


def test_the_end_of_a_request_does_not_bring_a_removed_node_back(
    registry: Registry, beat: BeatMaker
) -> None:
    """A request that was under way when its node was removed frees a slot of nobody."""
    registry.heard(N0, beat(), 10.0, WALL)
    pool = registry.pool("small")
    assert pool is not None
    [replica] = pool
    registry.acquire(replica)
    registry.remove(N0)
    assert registry.release(replica) == []
    assert registry.pool("small") is None


def test_a_node_that_sends_far_too_much_is_heard_now_and_then(
    registry: Registry, beat: BeatMaker
) -> None:
    """Of ten thousand beats in a second a few; one that beats as agents do is heard each time."""
    heard = 0
    for number in range(10_000):
        before = node(registry).beat
        registry.heard(N0, beat(number), 10.0 + number / 10_000, WALL)
        heard += node(registry).beat is not before
    assert heard <= BURST + PER_SECOND
    for number in range(100):
        registry.heard(N1, beat(number), 10.0 + number / 10, WALL)
        known = node(registry, N1).beat
        assert known is not None
        assert known.seq == number
