"""What may be promised of a lease, at moments that the test names."""

import pytest
from tests.parts.money import NOON, A

from garage_ai.ledger import Lease, LeaseId
from garage_ai.ledger.allowance import AHEAD, MOST_AHEAD, PAUSE_SECONDS, Allowance
from garage_ai.ledger.leases import SHARE, Granted, Wish, share_of


def leased(amount: int = 100, left: int = 0, elsewhere: int = 0) -> Allowance:
    """Give an allowance with so much, good until the hundredth second."""
    allowance = Allowance(LeaseId("l1"), A)
    allowance.extended(granted(amount, left, elsewhere), Wish(0, 0, amount), 100.0, 0.0)
    return allowance


def granted(amount: int, left: int = 0, elsewhere: int = 0) -> Granted:
    """Give a lease of so much, with so much of the balance left and elsewhere."""
    lease = Lease(LeaseId("l1"), "g1", A, amount, 0, NOON)
    return Granted(lease, left, elsewhere)


def test_room_is_what_is_neither_held_nor_spent() -> None:
    """A hold takes of it, its end gives back what was not spent."""
    allowance = leased()
    assert allowance.hold(60, 1.0)
    assert not allowance.hold(41, 1.0)
    allowance.release(60, spent=10)
    assert (allowance.room, allowance.held, allowance.at_rest) == (90, 0, True)


def test_nothing_is_promised_of_a_lease_that_ended() -> None:
    """Neither after its time nor when it is known to be lost."""
    allowance = leased()
    assert not allowance.hold(1, 100.0)
    allowance.lost = True
    assert not allowance.hold(1, 1.0)


def test_a_lease_is_needed_while_something_is_under_way() -> None:
    """A request that runs, or a settlement that is not committed."""
    allowance = leased()
    allowance.hold(1, 1.0)
    assert not allowance.at_rest
    allowance.release(1, spent=1)
    allowance.unsettled = 1
    assert not allowance.at_rest


def test_what_is_asked_for_follows_recent_use() -> None:
    """Several times what was asked lately, fading, and never above the bound."""
    allowance = leased(0)
    allowance.asked(10, 1.0)
    assert allowance.wish([10], 1.0) == Wish(10, 10, 10 * AHEAD)
    assert allowance.wish([], 6.0).wanted == 10 * AHEAD / 2
    assert allowance.wish([], 1000.0) == Wish(0, 0, 0)
    allowance.asked(MOST_AHEAD, 1.0)
    assert allowance.wish([], 1.0).wanted == MOST_AHEAD
    assert allowance.wish([3, 2 * MOST_AHEAD], 1.0) == Wish(
        3, 3 + 2 * MOST_AHEAD, 3 + 2 * MOST_AHEAD
    )


def test_more_is_leased_before_the_room_is_gone() -> None:
    """At half of what is wanted; not again at once where the balance gave less."""
    allowance = leased(100)
    allowance.asked(30, 1.0)
    assert not allowance.is_low(1.0)
    allowance.hold(50, 1.0)
    assert allowance.is_low(1.0)
    allowance.extended(granted(100), Wish(0, 0, 200), 100.0, 1.0)
    assert not allowance.is_low(1.0)
    assert allowance.is_low(1.0 + PAUSE_SECONDS)


def test_a_balance_found_too_small_is_not_asked_again_at_once() -> None:
    """Unless the amount is one that it could still give."""
    allowance = leased(0)
    allowance.extended(granted(10, 5), Wish(0, 0, 200), 100.0, 1.0)
    assert allowance.is_hopeless(16, 1.0)
    assert not allowance.is_hopeless(15, 1.0)
    assert not allowance.is_hopeless(16, 1.0 + PAUSE_SECONDS)


def test_what_lies_elsewhere_is_worth_asking_for() -> None:
    """It may come back; what can be spent now is what is here or left."""
    allowance = leased(10, left=5, elsewhere=20)
    allowance.extended(granted(10, 5, 20), Wish(0, 0, 200), 100.0, 1.0)
    assert (allowance.spendable, allowance.may_come(35), allowance.may_come(36)) == (
        15,
        True,
        False,
    )
    assert (allowance.is_hopeless(35, 1.0), allowance.is_hopeless(36, 1.0)) == (False, True)


def test_a_scarce_balance_does_not_lie_unused() -> None:
    """What is neither held nor spent is given up before the database hears of it."""
    assert not leased(10, left=10 * SHARE).is_scarce
    allowance = leased(10, left=10 * SHARE - 1)
    assert allowance.is_scarce
    allowance.hold(4, 1.0)
    allowance.hold(3, 1.0)
    allowance.release(3, spent=2)
    assert allowance.spare() == Wish(0, 6, 6, gives_back=True)
    assert (allowance.room, allowance.is_scarce) == (0, False)
    assert allowance.spendable == 10 * SHARE - 1 + 4


@pytest.mark.parametrize(
    ("available", "has", "wish", "more"),
    [
        (1000, 0, Wish(10, 10, 40), 40),
        (100, 0, Wish(10, 10, 40), 100 // SHARE),
        (30, 0, Wish(10, 20, 40), 20),
        (15, 0, Wish(10, 20, 40), 15),
        (9, 0, Wish(10, 20, 40), 0),
        (9, 5, Wish(10, 20, 40), 9),
        (0, 0, Wish(0, 0, 40), 0),
        (0, 50, Wish(0, 0, 40), 0),
        (0, 50, Wish(0, 40, 40, gives_back=True), -10),
        (90, 30, Wish(0, 40, 40, gives_back=True), 0),
        (-5, 10, Wish(0, 10, 40), 0),
        (1000, 50, Wish(10, 20, 40), 0),
    ],
)
def test_a_lease_takes_a_fair_part(available: int, has: int, wish: Wish, more: int) -> None:
    """What is needed if it is there; of what is only wanted, a quarter of what is left."""
    assert share_of(available, has, wish) == more
