"""Which size is tried next: a table."""

from garage_ai.node.fitting.sizes import FORGET_SECONDS, Choice, Failure, Ruled, Size, choose

GIB = 1 << 30
PLANNED = Size(16_384, 4)
FAILED = Failure(PLANNED, room=8 * GIB)


def test_context_goes_first_then_requests() -> None:
    """The order is the planner's own."""
    failures: list[Failure] = []
    tried = []
    while isinstance(found := choose(PLANNED, failures, {}, 8 * GIB), Choice):
        tried.append(tuple(found.size))
        failures.append(Failure(found.size, 8 * GIB))
    assert tried == [(16_384, 4), (8192, 4), (4096, 4), (4096, 2), (4096, 1)]
    assert found == Ruled(PLANNED)


def test_a_failure_is_remembered_until_there_is_more_room() -> None:
    """A tenth more than there was then, or a month, and the planned size is tried again."""
    smaller = Choice(Size(8192, 4), Ruled(PLANNED))
    assert choose(PLANNED, [FAILED], {}, 8 * GIB) == smaller
    assert choose(PLANNED, [FAILED], {}, None) == smaller
    assert choose(PLANNED, [FAILED], {}, 9 * GIB) == Choice(PLANNED)
    assert choose(PLANNED, [FAILED._replace(ago=FORGET_SECONDS + 1)], {}, GIB) == Choice(PLANNED)


def test_a_failure_says_nothing_of_smaller_plans() -> None:
    """An owner who asks for less than what failed gets it."""
    assert choose(Size(8192, 8), [FAILED], {}, GIB) == Choice(Size(8192, 8))
    assert choose(Size(16_384, 2), [FAILED], {}, GIB) == Choice(Size(16_384, 2))


def test_what_was_measured_is_not_tried_where_it_has_no_room() -> None:
    """Nothing has to crash for it; a larger size takes at least what a smaller one took."""
    peaks = {Size(8192, 4): 6 * GIB, Size(4096, 4): 4 * GIB}
    assert choose(PLANNED, [], peaks, 7 * GIB) == Choice(PLANNED)
    assert choose(PLANNED, [], peaks, 5 * GIB) == Choice(
        Size(4096, 4), Ruled(PLANNED, 6 * GIB, 5 * GIB)
    )
