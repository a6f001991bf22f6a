"""A gang's life, event by event."""

import pytest
from tests.parts.gang_world import DIGEST, World, needs, rigs_of

from garage_ai.node.group.errors import BadPeer
from garage_ai.node.group.failures import FIRST_REST, IN_A_ROW
from garage_ai.node.group.gang import (
    END_SECONDS,
    GOOD_SECONDS,
    RESERVE_SECONDS,
    EndRank,
    Gang,
    Send,
    StartRank,
)
from garage_ai.node.group.messages import (
    MAX_HEARD,
    MAX_WORDS,
    NEVER,
    End,
    Ended,
    Epoch,
    Facts,
    GangPlan,
    Member,
    Place,
    Refused,
    Reserve,
    Reserved,
    Start,
    Started,
    decode,
    encode,
)
from garage_ai.wire.ids import NodeId

A, B, C = rigs_of(3)
PLAN = GangPlan((Place(A), Place(B)), tensor=2)
FIRST = Epoch(1, A)


def gang(me: str = A) -> Gang:
    """A rig that lends, in a group where two make a gang."""
    member = Member(rigs_of(3)[rigs_of(3).index(me)], DIGEST, willing=True)
    return Gang(member, lambda free: needs(2, free))


def met(rig: Gang, *others: str) -> Gang:
    """Let it meet others that lend."""
    for name in rigs_of(3):
        if name in others:
            rig.met(Member(name, DIGEST, willing=True), 0.0)
    return rig


def serving() -> World:
    """Two rigs of which the first leads a gang that serves."""
    world = World(2, 2)
    world.settle(4)
    assert world.rigs[A].gang.phase == "serving"
    return world


def test_reserves_starts_and_serves() -> None:
    """Every rank is reserved before one is started, and all run before anything is served."""
    leader = gang(A)
    assert leader.met(Member(B, DIGEST, willing=True), 0.0) == [
        Send(B, Reserve(FIRST, DIGEST, PLAN))
    ]
    assert leader.heard(B, Reserved(FIRST), 1.0) == [Send(B, Start(FIRST)), StartRank(FIRST, PLAN)]
    assert leader.rank_up(FIRST, 2.0) == []
    before = leader.phase
    leader.heard(B, Started(FIRST), 3.0)
    assert (before, leader.phase) == ("starting", "serving")


def test_a_rig_waits_for_others_as_long_as_it_can_begin_nothing() -> None:
    """Where it lacks them, and where another one leads; not after a part that has failed."""
    leader, rank = gang(A), gang(B)
    leader.met(Member(A, DIGEST, willing=True), 0.0)
    met(rank, A, B)
    assert (leader.phase, leader.waits, rank.phase, rank.waits) == ("apart", True) * 2
    leader.met(Member(B, DIGEST, willing=True), 0.0)
    leader.heard(B, Reserved(FIRST), 1.0)
    rank.heard(A, Reserve(FIRST, DIGEST, PLAN), 1.0)
    rank.heard(A, Start(FIRST), 1.0)
    assert (leader.waits, rank.waits) == (False, False)
    rank.rank_ended(FIRST, "it died", 2.0)
    assert (rank.phase, rank.waits) == ("apart", False)


def test_a_rank_follows() -> None:
    """It keeps itself free, starts when told, and tells when it runs."""
    rank = met(gang(B), A)
    assert rank.heard(A, Reserve(FIRST, DIGEST, PLAN), 1.0) == [Send(A, Reserved(FIRST))]
    assert rank.heard(A, Start(FIRST), 2.0) == [StartRank(FIRST, PLAN)]
    assert rank.rank_up(FIRST, 3.0) == [Send(A, Started(FIRST))]
    assert rank.myself.engaged == FIRST
    assert not rank.leads


def test_a_follower_begins_anew_after_a_good_gang() -> None:
    """As its leader does: however often gangs failed before, it soon tries by itself again."""
    rank = met(gang(B), A)
    led = GangPlan((Place(A), Place(B)), tensor=2)
    now = 0.0
    for number in range(1, 9):
        epoch = Epoch(number, A)
        rank.heard(A, Reserve(epoch, DIGEST, led), now)
        rank.heard(A, Start(epoch), now)
        rank.rank_up(epoch, now)
        now += 1.0 if number < 8 else GOOD_SECONDS + 1
        rank.heard(A, End(epoch, "it died"), now)
        rank.rank_ended(epoch, "", now)
    rank.lost(A, now)
    rank.met(Member(C, DIGEST, willing=True), now)
    rank.tick(now, 1.0)
    rank.tick(now + 1.5, 1.0)
    assert rank.phase == "reserving"


def test_one_lost_rank_ends_the_gang() -> None:
    """The leader frees its own cards at once, and plans anew with who is left."""
    world = serving()
    world.cut(A, B)
    for name in (A, B):
        assert world.rigs[name].ending
        world.dies(name)
        assert world.rigs[name].gang.phase == "apart"
    world.tick(1, 0.5)
    world.tick(60, 0.5)
    assert world.rigs[A].gang.reason == "1 of 2 rigs are there"


def test_a_rank_that_dies_ends_the_gang() -> None:
    """Its leader hears why, and the others are told to end."""
    world = serving()
    world.dies(B)
    while world.deliver(B, A):
        pass
    assert world.rigs[A].ending
    assert world.rigs[A].gang.reason == f"{B}: it died"


def test_it_forms_again() -> None:
    """With the rig that is back, in a later epoch."""
    world = serving()
    before = world.rigs[A].gang.epoch
    world.reboot(B)
    world.settle()
    assert world.rigs[A].gang.phase == "serving"
    assert world.rigs[A].gang.epoch > before


def test_an_older_epoch_is_refused() -> None:
    """Whoever leads it learns which is the latest."""
    rank = met(gang(B), A)
    rank.met(Member(A, DIGEST, willing=True, highest=Epoch(7, C)), 0.0)
    (said,) = rank.heard(A, Reserve(Epoch(7, A), DIGEST, PLAN), 1.0)
    assert said == Send(A, Refused(Epoch(7, A), Epoch(7, C), "there was a later gang"))
    leader = met(gang(A), B)
    leader.heard(B, Refused(FIRST, Epoch(7, C), "there was a later gang"), 1.0)
    leader.heard(B, Ended(FIRST), 1.0)
    leader.tick(2.0, 0.0)
    (asked,) = leader.tick(10.0, 0.0)
    assert asked == Send(B, Reserve(Epoch(8, A), DIGEST, PLAN))


def test_a_gang_that_was_heard_of_before_it_asks() -> None:
    """Others may tell of its epoch before its leader does; and once it is over, it is."""
    rank = met(gang(C), A, B)
    rank.met(Member(B, DIGEST, willing=True, engaged=FIRST, highest=FIRST), 1.0)
    three = GangPlan((Place(A), Place(B), Place(C)), tensor=3)
    assert rank.heard(A, Reserve(FIRST, DIGEST, three), 2.0) == [Send(A, Reserved(FIRST))]
    rank.heard(A, End(FIRST), 3.0)
    (again,) = rank.heard(A, Reserve(FIRST, DIGEST, three), 4.0)
    assert again == Send(A, Refused(FIRST, FIRST, "there was a later gang"))


@pytest.mark.parametrize(
    ("digest", "willing", "why"),
    [
        ("sha256:" + "b" * 64, True, "it holds another model"),
        (DIGEST, False, "its owner does not lend now"),
    ],
)
def test_a_rank_refuses(digest: str, willing: bool, why: str) -> None:
    """What it does not hold, and while its owner does not lend."""
    rank = gang(B)
    rank.met(Member(B, DIGEST, willing=willing), 0.0)
    (said,) = rank.heard(A, Reserve(FIRST, digest, PLAN), 1.0)
    assert isinstance(said, Send)
    assert isinstance(said.message, Refused)
    assert said.message.reason == why


def test_two_that_begin_at_once() -> None:
    """The later epoch wins; whoever gives way frees its ranks first and is asked again."""
    second = met(gang(B), C)
    assert second.phase == "reserving"
    told = second.heard(A, Reserve(Epoch(2, A), DIGEST, PLAN), 1.0)
    busy = Refused(Epoch(2, A), Epoch(1, B), "it is part of another gang")
    assert told == [Send(C, End(Epoch(1, B), "another rig leads")), Send(A, busy)]
    second.heard(C, Ended(Epoch(1, B)), 1.0)
    assert second.heard(A, Reserve(Epoch(3, A), DIGEST, PLAN), 2.0) == [
        Send(A, Reserved(Epoch(3, A)))
    ]


def test_an_owner_who_pauses_frees_all() -> None:
    """On a rank as on the leader: the gang ends."""
    for paused in (A, B):
        world = serving()
        world.lends(paused, willing=False)
        assert world.rigs[paused].ending
        world.dies(paused)
        while sum(world.deliver(*way) for way in list(world.wires)):
            pass
        assert all(rig.ending or rig.runs is None for rig in world.rigs.values())


def test_a_pause_while_it_ends_changes_nothing() -> None:
    """The ranks that have said that they ended need not say so again, and nobody is told twice."""
    leader = met(gang(A), B)
    leader.heard(B, Reserved(FIRST), 1.0)
    leader.rank_ended(FIRST, "it died", 2.0)
    assert leader.phase == "ending"
    assert leader.met(Member(A, DIGEST, willing=False), 3.0) == []
    assert (leader.phase, leader.reason) == ("ending", "it died")
    leader.heard(B, Ended(FIRST), 4.0)
    assert leader.myself.engaged is None


def test_silence_is_not_waited_for() -> None:
    """Neither for the word to start, nor for a rank's end."""
    rank = met(gang(B), A)
    rank.heard(A, Reserve(FIRST, DIGEST, PLAN), 0.0)
    rank.tick(RESERVE_SECONDS + 1, 0.5)
    assert rank.phase == "apart"
    leader = met(gang(A), B)
    leader.tick(RESERVE_SECONDS + 1, 0.5)
    leader.tick(RESERVE_SECONDS + END_SECONDS + 2, 0.5)
    assert leader.phase == "apart"


def test_nothing_starts_while_the_last_part_still_ends() -> None:
    """A rig's own part is waited for as long as it takes."""
    world = serving()
    world.lends(A, willing=False)
    world.lends(A, willing=True)
    world.tick(1000, 0.5)
    assert world.rigs[A].gang.phase == "ending"
    assert world.rigs[A].gang.runs
    assert world.rigs[A].started == [world.rigs[A].gang.epoch]


def test_words_of_strangers_change_nothing() -> None:
    """A rank hears its leader only, and a leader its ranks only."""
    rank = met(gang(B), A, C)
    rank.heard(A, Reserve(FIRST, DIGEST, PLAN), 1.0)
    assert rank.heard(C, Start(FIRST), 1.0) == []
    assert rank.heard(C, End(FIRST), 1.0) == []
    assert rank.phase == "reserved"
    leader = met(gang(A), B, C)
    assert leader.heard(C, Reserved(FIRST), 1.0) == []
    assert not any(isinstance(each, EndRank) for each in leader.heard(C, Ended(FIRST), 1.0))
    assert leader.phase == "reserving"


def test_an_engines_last_words_are_cut_to_what_another_rig_takes() -> None:
    """However long they are and whichever side says them, the other understands the message."""
    world = serving()
    for rig, other in ((A, B), (B, A)):
        said = world.rigs[rig].gang.rank_ended(world.rigs[rig].gang.epoch, "ö" * 10_000, world.now)
        told = [each.message for each in said if isinstance(each, Send) and each.to == other]
        assert [decode(encode(message)) for message in told] == told
        assert len(world.rigs[rig].gang.reason) == MAX_WORDS
    [ended] = [each.message for each in said if isinstance(each, Send)]
    assert isinstance(ended, Ended)
    assert ended.reason.endswith("ö…")


def test_no_word_of_a_rig_takes_the_others_to_the_end_of_epochs() -> None:
    """Neither of what it has heard, nor of a gang that it leads: later ones are understood."""
    last, end = Epoch(MAX_HEARD, B), Epoch(1 << 62, B)
    for lie in (Facts(Member(B, DIGEST, highest=Epoch(MAX_HEARD + 1, B))), Refused(FIRST, end, "")):
        with pytest.raises(BadPeer, match="epoch"):
            decode(encode(lie))
    rig = gang(A)
    led = GangPlan((Place(B), Place(A)), tensor=2)
    assert rig.heard(B, Reserve(end, DIGEST, led), 0.0) == []
    asked = rig.met(Member(B, DIGEST, willing=True, highest=last), 0.0)
    said = Reserve(Epoch(MAX_HEARD + 1, A), DIGEST, PLAN)
    assert asked == [Send(B, said)]
    for message in (Facts(rig.myself), said):
        assert decode(encode(message)) == message


def test_nothing_begins_while_a_rig_looks_at_its_cards() -> None:
    """It neither leads nor follows, and does as soon as it has looked."""
    leader, rank = gang(A), met(gang(B), A)
    leader.held = rank.held = True
    assert leader.met(Member(B, DIGEST, willing=True), 0.0) == []
    no = Refused(FIRST, NEVER, "it is looking at what its cards hold")
    assert rank.heard(A, Reserve(FIRST, DIGEST, PLAN), 1.0) == [Send(A, no)]
    leader.held = rank.held = False
    assert leader.tick(1.0, 0.5) == [Send(B, Reserve(FIRST, DIGEST, PLAN))]
    assert rank.heard(A, Reserve(FIRST, DIGEST, PLAN), 2.0) == [Send(A, Reserved(FIRST))]


def all_arrives(world: World) -> None:
    """Deliver what was said, and what is said to that."""
    while sum(world.deliver(*way) for way in list(world.wires)):
        pass


def failing(world: World, at_fault: str, times: int) -> None:
    """Let a rig's part end by itself in each of so many gangs of the first two."""
    for _ in range(times):
        for _ in range(2):
            world.tick(100.0, 1.0)
            all_arrives(world)
        plan = world.rigs[A].gang.plan
        assert plan is not None
        assert plan.nodes == (A, B)
        world.dies(NodeId(at_fault))
        all_end(world)


def all_end(world: World) -> None:
    """Let what is told to end do so."""
    for _ in world.names:
        all_arrives(world)
        for name, rig in world.rigs.items():
            if rig.ending:
                world.dies(name)


def partners(world: World) -> tuple[str, ...]:
    """Say who is together in the gang that serves."""
    plans = [rig.gang.plan for rig in world.rigs.values() if rig.gang.phase == "serving"]
    return tuple([node for plan in plans if plan is not None for node in plan.nodes])


@pytest.mark.parametrize(("at_fault", "together"), [(A, (A, C)), (B, (A, C))])
def test_a_team_that_fails_time_after_time_is_left_alone(
    at_fault: str, together: tuple[str, ...]
) -> None:
    """All plan around it alike, for a while that grows, and it comes together again after that."""
    world = World(3, 2)
    failing(world, at_fault, IN_A_ROW - 1)
    assert world.rigs[A].gang.myself.avoids == ()
    failing(world, at_fault, 1)
    avoids = world.rigs[A].gang.myself.avoids
    assert [set(team) for team in avoids] == [{A, B}]
    assert avoids[0][0] == B, "whoever leads is done without last"
    world.settle(6)
    assert partners(world) == together
    world.tick(FIRST_REST, 0.5)
    assert world.rigs[A].gang.myself.avoids == ()
    assert partners(world) == together, "what serves is left in peace"
    world.lends(C, willing=False)
    all_end(world)
    failing(world, at_fault, 1)
    world.tick(FIRST_REST + 1, 0.5)
    assert world.rigs[A].gang.myself.avoids, "the next time it is left alone for longer"


def test_a_team_is_not_left_alone_where_there_is_no_other() -> None:
    """Nor for what its owner does, or where its link is lost; a good gang is a new beginning."""
    world = World(2, 2)
    failing(world, B, IN_A_ROW)
    world.settle(6)
    assert partners(world) == (A, B)
    world.tick(GOOD_SECONDS + 1, 0.5)
    world.cut(A, B)
    world.settle(6)
    assert world.rigs[A].gang.myself.avoids == ()
    for _ in range(IN_A_ROW):
        world.lends(B, willing=False)
        world.settle(20)
    assert partners(world) == (A, B)
    assert world.rigs[A].gang.myself.avoids == ()
