"""Whatever ranges users have, the one that is offered is nobody's."""

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from garage_ai.node.sandbox.subids import COUNT, LEAST, free_range

STARTS = st.one_of(
    st.integers(0, 2**32 - 1),
    st.integers(0, 40).map(lambda n: LEAST + n * COUNT),
    st.integers(2**32 - 3 * COUNT, 2**32 - 1),
)
RANGES = st.lists(st.tuples(STARTS, st.integers(0, 4 * COUNT)), max_size=12)


def file_of(ranges: list[tuple[int, int]]) -> str:
    return "".join(f"u{n}:{start}:{count}\n" for n, (start, count) in enumerate(ranges))


@given(RANGES, RANGES)
def test_the_range_is_nobodys(users: list[tuple[int, int]], groups: list[tuple[int, int]]) -> None:
    """It is whole, of ids that there are, and shares none with any user or group."""
    first, last = map(int, free_range(file_of(users), file_of(groups)).split("-"))
    assert last - first + 1 == COUNT
    assert first >= LEAST
    assert last < 2**32 - 2
    for start, count in chain(users, groups):
        assert not count or last < start or start + count - 1 < first
