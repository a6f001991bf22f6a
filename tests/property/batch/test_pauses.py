"""Pauses of keys and batches, whatever comes of asking."""

from hypothesis import given
from hypothesis import strategies as st

from garage_ai.batch.worker.pauses import FIRST_PAUSE, LONGEST_PAUSE, LONGEST_WAIT, Pauses

chances = st.floats(0, 1)


@given(st.lists(chances, min_size=2, max_size=20))
def test_each_pause_is_longer_and_none_for_ever(tries: list[float]) -> None:
    """Twice the one before up to a bound, and only of the one that was refused."""
    pauses, now, longest = Pauses(), 0.0, FIRST_PAUSE
    for chance in tries:
        pauses.refused("one", now, chance)
        assert pauses.paused(now + 0.99 * longest) == ["one"]
        assert not pauses.is_paused("other", now)
        now += longest * 1.5
        assert not pauses.is_paused("one", now)
        longest = min(2 * longest, LONGEST_PAUSE)


@given(st.integers(1, 20), chances)
def test_refusals_of_one_moment_are_one(refusals: int, chance: float) -> None:
    """Many items of a batch run at once and come back together."""
    pauses = Pauses()
    for _ in range(refusals):
        pauses.refused("one", 0, chance)
    assert not pauses.is_paused("one", 1.5 * FIRST_PAUSE)


@given(st.integers(1, 20), chances)
def test_an_answer_makes_the_next_pause_short(refusals: int, chance: float) -> None:
    """The one that is under way goes on: what runs longer was begun before it."""
    pauses, now = Pauses(), 0.0
    for _ in range(refusals):
        now += 2 * LONGEST_PAUSE
        pauses.refused("one", now, chance)
    pauses.served("one")
    assert pauses.is_paused("one", now)
    now += 2 * LONGEST_PAUSE
    pauses.refused("one", now, chance)
    assert not pauses.is_paused("one", now + 1.5 * FIRST_PAUSE)


@given(st.floats(0.1, 1000), chances)
def test_a_known_time_is_waited_for(seconds: float, chance: float) -> None:
    """A limit says when there is room again; up to a bound it is not asked before."""
    pauses = Pauses()
    pauses.refused("key", 0, chance, seconds)
    assert pauses.is_paused("key", 0.99 * min(seconds, LONGEST_WAIT))
    assert not pauses.is_paused("key", 1.5 * max(FIRST_PAUSE, seconds))


def test_who_was_not_refused_for_long_is_forgotten() -> None:
    """And begins with a short pause again."""
    pauses = Pauses()
    pauses.refused("one", 0, 0)
    assert pauses.paused(0) == ["one"]
    assert pauses.paused(1000) == []
    pauses.refused("one", 1000, 0)
    assert not pauses.is_paused("one", 1000 + FIRST_PAUSE)
