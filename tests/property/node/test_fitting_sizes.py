"""Whatever fails here, an engine is asked to take on less and less, and then nothing more."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from garage_ai.node.fitting.sizes import (
    FORGET_SECONDS,
    MORE_ROOM,
    Choice,
    Failure,
    Ruled,
    Size,
    choose,
    ladder,
)

SIZES = st.builds(Size, st.integers(128, 1 << 20), st.integers(1, 4096))
ROOMS = st.none() | st.integers(0, 1 << 40)
FAILURES = st.lists(st.builds(Failure, SIZES, ROOMS, st.floats(0, 2 * FORGET_SECONDS)), max_size=8)


@given(SIZES)
def test_a_ladder_goes_down_and_ends(planned: Size) -> None:
    """Context first, to a conversation's, then requests at a time, to one; each rung is smaller."""
    rungs = list(ladder(planned))
    assert rungs[0] == planned
    assert rungs[-1] == (min(4096, planned.context), 1)
    for before, after in pairwise(rungs):
        assert before.holds(after)
        assert before != after
    # One halving each of at most 2^24 tokens and 4096 requests.
    assert len(rungs) <= 1 + 24 + 12


@given(SIZES, ROOMS, st.data())
def test_a_start_that_always_fails_is_refused_in_the_end(
    planned: Size, room: int | None, data: st.DataObject
) -> None:
    """Each failure rules out the size at hand; the measure falls strictly, so there is no loop."""
    failures: list[Failure] = []
    tried: list[Size] = []
    while isinstance(found := choose(planned, failures, {}, room), Choice):
        assert found.size not in tried
        assert not any(found.size.holds(each) for each in tried)
        tried.append(found.size)
        # Memory may be freer or tighter each time, but not by so much that it is another PC.
        free = None if room is None else data.draw(st.integers(int(room / MORE_ROOM) + 2, 1 << 41))
        failures.append(Failure(found.size, free))
    assert tried == list(ladder(planned))
    assert found.size == planned


@given(SIZES, FAILURES, st.dictionaries(SIZES, st.integers(0, 1 << 40), max_size=8), ROOMS)
def test_what_is_chosen_is_not_known_to_be_too_large(
    planned: Size, failures: list[Failure], peaks: dict[Size, int], room: int | None
) -> None:
    """It holds no size that failed and took more than there is; it is a rung of the ladder."""
    found = choose(planned, failures, peaks, room)
    if isinstance(found, Ruled):
        return
    assert found.size in ladder(planned)
    assert (found.why is None) == (found.size == planned)
    for failure in failures:
        fresh = failure.ago <= FORGET_SECONDS and (room is None or failure.room is None)
        assert not (fresh and found.size.holds(failure.size))
    if room is not None:
        assert all(peak <= room for size, peak in peaks.items() if found.size.holds(size))


@given(SIZES, FAILURES, ROOMS)
def test_nothing_that_fitted_once_is_given_up_for_another_failure(
    planned: Size, failures: list[Failure], room: int | None
) -> None:
    """More failures never make the size larger."""
    fewer, more = choose(planned, failures[1:], {}, room), choose(planned, failures, {}, room)
    if isinstance(fewer, Ruled):
        assert isinstance(more, Ruled)
    elif isinstance(more, Choice):
        assert fewer.size.holds(more.size)
