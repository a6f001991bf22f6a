"""How many items of a model are under way, whatever the network answers."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from garage_ai.batch.worker.window import (
    AHEAD,
    FAILURES,
    FIRST_FAILURE,
    FIRST_PAUSE,
    LEAST_AHEAD,
    LONGEST_FAILURE,
    LONGEST_PAUSE,
    Window,
)

slots = st.integers(1, 5000)


@given(slots)
def test_all_slots_are_filled_and_some_wait(count: int) -> None:
    """A slot that falls free is never empty; those that wait are a part of the slots."""
    room = Window().room(count, now=1)
    assert count + LEAST_AHEAD <= room <= count + max(LEAST_AHEAD, count // AHEAD)


@given(slots, st.integers(0, 10_000))
def test_what_runs_is_taken_off(count: int, running: int) -> None:
    """Room is never below nothing."""
    window = Window(running)
    assert window.room(count, now=1) == max(0, Window().room(count, now=1) - running)


@given(slots, st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_refusals_make_it_smaller_and_pause(count: int, chances: list[float]) -> None:
    """Never for ever: after each pause at least one is tried."""
    window, now, before = Window(), 0.0, Window().room(count, 1)
    for chance in chances:
        window.refused(now, chance)
        assert window.room(count, now) == 0
        window.refused(now, chance)  # the same moment is the same refusal
        now += LONGEST_PAUSE
        room = window.room(count, now)
        assert 1 <= room <= before
        before = room


@given(slots, st.integers(1, 20))
def test_answers_make_it_as_large_as_it_was(count: int, refusals: int) -> None:
    """A few dozen of them; and the next pause is short again."""
    window, now = Window(), 0.0
    for _ in range(refusals):
        window.refused(now, 0.5)
        now += LONGEST_PAUSE
    for _ in range(64):
        window.served()
    assert window.room(count, now) == Window().room(count, now)
    window.refused(now, 1.0)
    assert not window.is_paused(now + FIRST_PAUSE)


@given(slots, st.lists(st.floats(0, 1), min_size=12, max_size=40))
def test_where_all_fails_a_handful_is_tried_in_a_minute(count: int, chances: list[float]) -> None:
    """One at a time, after pauses that grow, whatever the slots; never for ever."""
    window, now, tried = Window(), 0.0, list[float]()
    for _ in range(FAILURES):
        window.failed(now, 1.0)
    for chance in chances:
        assert window.room(count, now) == 0
        while not window.room(count, now):
            now += 0.25
        assert window.room(count, now) == 1
        window.failed(now, chance)
        tried.append(now)
    assert all(later - at <= LONGEST_FAILURE for at, later in pairwise(tried))
    assert all(len([at for at in tried if start <= at < start + 60]) <= 7 for start in tried)
    assert all(later - at >= LONGEST_FAILURE / 2 for at, later in pairwise(tried[5:]))


@given(slots, st.integers(1, FAILURES - 1), st.floats(0, 1))
def test_what_fails_alone_pauses_nothing(count: int, failures: int, chance: float) -> None:
    """A poisoned item among others that are answered is its own fault, however many there are."""
    window = Window()
    for _ in range(20):
        for _ in range(failures):
            window.failed(1.0, chance)
        window.served()
    assert window.room(count, 1.0) == Window().room(count, 1.0)


@given(slots, st.integers(FAILURES, 20), st.floats(0, 1))
def test_an_answer_after_failures_opens_it_again(count: int, failures: int, chance: float) -> None:
    """At once to what it was cut to, and the next pause is short."""
    window, now = Window(), 0.0
    for _ in range(failures):
        now += LONGEST_FAILURE
        window.failed(now, chance)
    now += LONGEST_FAILURE
    for _ in range(64):
        window.served()
    assert window.room(count, now) == Window().room(count, now)
    for _ in range(FAILURES):
        window.failed(now, chance)
    assert not window.is_paused(now + FIRST_FAILURE)


def test_without_nodes_nothing_is_begun() -> None:
    """Items wait in the database."""
    assert Window().room(0, now=1) == 0
