"""When a node renews its JWT."""

import pytest

from garage_ai.wire.renewal import Renewal, renewal_due

DAY = 86_400


@pytest.mark.parametrize(
    ("day", "busy", "wanted"),
    [
        (0, False, "no"),
        (19.99, False, "no"),
        (19.99, True, "no"),
        (20, False, "when_idle"),
        (20, True, "when_idle"),
        (28.99, True, "when_idle"),
        (29, True, "drain_now"),
        (29, False, "when_idle"),
        (31, False, "when_idle"),
        (31, True, "drain_now"),
        (-1, True, "no"),
    ],
)
def test_of_thirty_days(day: float, busy: bool, wanted: Renewal) -> None:
    """From day 20 when idle, from day 29 after a drain; a clock set back asks for nothing."""
    start = 1_800_000_000
    assert renewal_due(start, start + 30 * DAY, start + day * DAY, busy) == wanted


def test_another_life_has_the_same_shares() -> None:
    """A JWT of an hour is renewed after forty minutes."""
    assert renewal_due(0, 3600, 2399, False) == "no"
    assert renewal_due(0, 3600, 2400, False) == "when_idle"


def test_each_node_has_its_own_moment() -> None:
    """JWTs that were made in one second are not renewed in one second."""
    life = 30 * DAY
    assert renewal_due(0, life, 21.4 * DAY, False, place=0.5) == "no"
    assert renewal_due(0, life, 21.5 * DAY, False, place=0.5) == "when_idle"
    assert renewal_due(0, life, 23 * DAY, False, place=0.99) == "when_idle"
