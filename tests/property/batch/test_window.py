"""How many items of a model are under way, whatever the network answers."""

from hypothesis import given
from hypothesis import strategies as st

from garage_ai.batch.worker.window import (
    AHEAD,
    FIRST_PAUSE,
    LEAST_AHEAD,
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


def test_without_nodes_nothing_is_begun() -> None:
    """Items wait in the database."""
    assert Window().room(0, now=1) == 0
