"""What a pool counts, and for how long; what it gives to whom."""

from datetime import UTC, datetime

import pytest

from garage_ai.accounts.windows import LEASE_SECONDS, Answer, Ask, Dimension, Pool

NOW = datetime(2026, 2, 28, 23, 30, 0, 250_000, UTC).timestamp()


def ask(gateway: str = "a", **fields: int) -> Ask:
    """Ask with a limit of 100, unless the test says otherwise."""
    values = {"limit": 100, "used": 0, "held": 0, "room": 0, "want": 0, "need": 0} | fields
    return Ask(gateway, **values)


def exchange(pool: Pool, question: Ask, now: float = NOW) -> Answer:
    """Exchange over requests."""
    return pool.exchange(Dimension.REQUESTS, question, now)


def test_use_counts_for_a_minute_and_no_cell_longer() -> None:
    """It never counts for less than a minute, and for a second more at most."""
    pool = Pool()
    exchange(pool, ask(used=40))
    assert pool.used(Dimension.REQUESTS, NOW + 60) == 40
    assert pool.used(Dimension.REQUESTS, NOW + 61) == 0


@pytest.mark.parametrize(
    ("dimension", "ends"),
    [
        (Dimension.DAILY_TOKENS, datetime(2026, 3, 1, tzinfo=UTC)),
        (Dimension.MONTHLY_GAI, datetime(2026, 3, 1, tzinfo=UTC)),
        (Dimension.MONTHLY_TOKENS, datetime(2026, 3, 1, tzinfo=UTC)),
    ],
)
def test_budgets_end_with_their_day_or_month(dimension: Dimension, ends: datetime) -> None:
    """In UTC, to the second."""
    pool = Pool()
    answer = pool.exchange(dimension, ask(used=40), NOW)
    assert answer.later == ((ends.timestamp() - NOW, 40),)
    assert pool.used(dimension, ends.timestamp() - 0.1) == 40
    assert pool.used(dimension, ends.timestamp()) == 0


def test_a_month_ends_at_its_end_and_not_before() -> None:
    """December goes over into another year."""
    pool, december = Pool(), datetime(2026, 12, 31, 12, tzinfo=UTC).timestamp()
    pool.exchange(Dimension.MONTHLY_TOKENS, ask(used=1), december)
    assert pool.used(Dimension.MONTHLY_TOKENS, december + 11 * 3600) == 1
    assert pool.used(Dimension.MONTHLY_TOKENS, december + 12 * 3600) == 0


def test_streams_are_never_booked() -> None:
    """They count while they run, as part of a lease."""
    pool = Pool()
    pool.exchange(Dimension.STREAMS, ask(used=3, held=2), NOW)
    assert pool.used(Dimension.STREAMS, NOW) == 0
    assert pool.exchange(Dimension.STREAMS, ask("b"), NOW).left == 98


def test_alone_a_gateway_gets_what_it_wants() -> None:
    """As far as there is so much."""
    assert exchange(Pool(), ask(want=25)).room == 25
    assert exchange(Pool(), ask(want=500)).room == 100


def test_beside_others_it_gets_its_part_of_what_is_left() -> None:
    """More only where it needs it to let the next request in."""
    pool = Pool()
    assert exchange(pool, ask("a", want=60)).room == 60
    assert exchange(pool, ask("b", want=60)).room == 20
    assert exchange(pool, ask("c", want=60)).room == 6
    assert exchange(pool, ask("d", want=0, need=10)).room == 10


def test_what_a_gateway_keeps_is_not_taken_from_it() -> None:
    """Room that it may have let requests into meanwhile is its own until it gives it back."""
    pool = Pool()
    exchange(pool, ask("a", want=60))
    exchange(pool, ask("b", want=60))
    assert exchange(pool, ask("a", room=60, want=0)).room == 60
    assert exchange(pool, ask("a", room=10, want=0)).room == 10
    assert exchange(pool, ask("b", room=20, want=20)).elsewhere == 10


def test_a_lease_that_ended_is_not_kept() -> None:
    """Others may have it by then; what its requests hold still counts."""
    pool = Pool()
    exchange(pool, ask("a", want=100))
    late = NOW + LEASE_SECONDS
    assert exchange(pool, ask("b", want=0, need=100), late).room == 100
    answer = exchange(pool, ask("a", held=5, room=95, want=95), late)
    assert (answer.room, answer.left) == (0, 0)


def test_a_clock_that_was_put_back_holds_nobody_up() -> None:
    """What was noted ahead of it counts from now on, and as long as ever."""
    pool, ahead = Pool(), NOW + 40 * 86_400
    exchange(pool, ask("a", used=40, want=60), ahead)
    assert exchange(pool, ask("b")).left == 0
    assert exchange(pool, ask("b"), NOW + LEASE_SECONDS).left == 60
    assert pool.used(Dimension.REQUESTS, NOW + 60) == 40
    assert pool.used(Dimension.REQUESTS, NOW + 61) == 0
    pool.exchange(Dimension.DAILY_TOKENS, ask(used=7), ahead)
    assert pool.used(Dimension.DAILY_TOKENS, NOW) == 7
    assert pool.used(Dimension.DAILY_TOKENS, NOW + 86_400) == 0


def test_one_that_must_refuse_is_heard_by_the_others() -> None:
    """Until it gets what it needs or is gone."""
    pool = Pool()
    exchange(pool, ask("a", want=100))
    assert exchange(pool, ask("b", need=1)).room == 0
    assert exchange(pool, ask("a", room=0)).hungry
    assert exchange(pool, ask("b", need=1)).room == 1
    assert not exchange(pool, ask("a")).hungry


def test_a_lowered_limit_gives_nothing_and_owes_nothing() -> None:
    """What was used before stands; what is left is never below zero."""
    pool = Pool()
    exchange(pool, ask(used=80))
    answer = exchange(pool, ask(limit=50, want=10))
    assert (answer.room, answer.left) == (0, 0)


def test_a_gateway_that_goes_leaves_its_use() -> None:
    """And nothing else."""
    pool = Pool()
    exchange(pool, ask("a", want=60, held=20))
    pool.leave(Dimension.REQUESTS, "a", 15, NOW)
    answer = exchange(pool, ask("b", want=100))
    assert (answer.room, answer.others) == (85, 0)
