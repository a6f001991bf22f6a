"""What a gateway lets in by itself, and what it tells its pool."""

from garage_ai.accounts.shares import IDLE_SECONDS, MARGIN, Share
from garage_ai.accounts.windows import LEASE_SECONDS, Answer


def answer(room: int = 10, **fields: int | bool) -> Answer:
    """Answer of a gateway that is alone, with 100 left."""
    values = {"left": 100, "elsewhere": 0, "others": 0, "hungry": False} | fields
    return Answer(room, later=((30.0, 40), (45.0, 20)), full_in=45.0, **values)  # type: ignore[arg-type]


def given(room: int = 10, limit: int = 100, **fields: int | bool) -> Share:
    """A share that was just given room, at moment 0."""
    share = Share(limit)
    share.request(1, 0.0)
    share.ask("a", 0.0)
    share.heard(answer(room, **fields), 0.0, 0.0)
    return share


def test_a_new_share_has_nothing() -> None:
    """The first request asks."""
    share = Share(100)
    assert not share.has(1, 0.0)
    assert not share.refused(1, 0.0)
    assert share.remaining(0.0) == 100


def test_what_is_taken_is_held_and_the_rest_comes_back() -> None:
    """Held from admission on; at the end used or room again."""
    share = given(10)
    share.take(8, 1.0)
    assert (share.room, share.held) == (2, 8)
    share.settle(8, 3)
    assert (share.room, share.held, share.used) == (7, 0, 3)
    assert share.remaining(1.0) == 97


def test_a_share_ends_before_its_lease() -> None:
    """By a margin, counted from when the question was asked."""
    share = given()
    assert share.has(1, LEASE_SECONDS - MARGIN - 0.01)
    assert not share.has(1, LEASE_SECONDS - MARGIN)


def test_what_happens_during_an_exchange_is_kept() -> None:
    """Requests go on while the pool is asked; both sides agree afterwards."""
    share = given(10)
    share.take(4, 1.0)
    question = share.ask("a", 1.0)
    assert (question.held, question.room, question.used) == (4, 6, 0)
    share.take(2, 1.1)
    share.settle(4, 1)
    share.heard(answer(25), 1.0, 1.2)
    assert (share.room, share.held, share.used) == (26, 2, 1)


def test_a_lost_exchange_is_told_again() -> None:
    """What was used is not forgotten."""
    share = given(10)
    share.take(4, 1.0)
    share.settle(4, 4)
    assert share.ask("a", 1.0).used == 4
    share.take(1, 1.1)
    share.settle(1, 1)
    share.failed()
    assert share.ask("a", 1.2).used == 5


def test_a_no_is_believed_for_a_moment() -> None:
    """A crowd that is refused costs the database ten questions a second."""
    share = given(0, left=0)
    assert share.refused(1, 0.05)
    assert not share.refused(1, 0.1)
    assert not given(0, left=0, elsewhere=5).refused(1, 0.05)


def test_when_to_come_again() -> None:
    """When enough of what was used counts no longer; unknown where nothing is to come."""
    share = given(0, left=0)
    assert share.wait(40, 1.0) == 29.0
    assert share.wait(41, 1.0) == 44.0
    assert share.wait(61, 1.0) is None
    assert share.wait(101, 1.0) is None


def test_room_is_given_back_by_who_does_not_use_it() -> None:
    """After some time idle; at once where another has to refuse."""
    share = given(25)
    assert share.ask("a", 1.0).room == 25
    share.heard(answer(25), 1.0, 1.0)
    assert share.ask("a", IDLE_SECONDS).room == 0
    beside = given(25, hungry=True, others=1)
    assert beside.is_due(0.25)
    assert beside.ask("a", 0.25).room == 0


def test_an_idle_share_is_forgotten() -> None:
    """Once it holds nothing and has nothing to tell."""
    share = given(1)
    assert not share.is_idle(IDLE_SECONDS)
    share.ask("a", IDLE_SECONDS)
    assert not share.is_idle(IDLE_SECONDS)
    share.heard(answer(0), IDLE_SECONDS, IDLE_SECONDS)
    assert share.is_idle(IDLE_SECONDS)
    assert not share.is_due(IDLE_SECONDS + 5)
