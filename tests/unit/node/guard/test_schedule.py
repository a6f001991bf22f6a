"""Hours in which a node serves."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garage_ai.node.errors import NotPossible
from garage_ai.node.guard.schedule import schedule

SWEDEN = ZoneInfo("Europe/Stockholm")
MONDAY = datetime(2025, 11, 24, tzinfo=SWEDEN)


def at(day: int, clock: str) -> datetime:
    hour, minute = clock.split(":")
    return MONDAY + timedelta(days=day, hours=int(hour), minutes=int(minute))


@pytest.mark.parametrize(
    ("text", "day", "clock", "is_open"),
    [
        ("", 0, "12:00", True),
        ("08:00-16:00", 6, "08:00", True),
        ("08:00-16:00", 6, "16:00", False),
        ("mon-fri 22:00-07:00", 0, "21:59", False),
        ("mon-fri 22:00-07:00", 0, "22:00", True),
        ("mon-fri 22:00-07:00", 0, "06:59", False),
        ("mon-fri 22:00-07:00", 5, "06:59", True),
        ("mon-fri 22:00-07:00", 5, "22:00", False),
        ("sun 22:00-07:00", 0, "06:59", True),
        ("mån-fre 22:00-07:00; lör,sön 00:00-24:00", 6, "23:59", True),
        ("fri-mon 10:00-11:00", 6, "10:30", True),
        ("fri-mon 10:00-11:00", 1, "10:30", False),
        ("Sat 20:00-00:00", 5, "23:59", True),
        ("Sat 20:00-00:00", 6, "00:00", False),
    ],
)
def test_open_and_closed(text: str, day: int, clock: str, is_open: bool) -> None:
    """Up to the end of a window and not at it; over midnight it belongs to its first day."""
    assert schedule(text).is_open(at(day, clock)) is is_open


@pytest.mark.parametrize(
    "text",
    ["always", "mon", "25:00-26:00", "10:00-10:00", "monday 10:00-11:00", "10:60-11:00", "x" * 501],
)
def test_what_are_no_hours_is_refused(text: str) -> None:
    """With a sentence that shows how they are written."""
    with pytest.raises(NotPossible):
        schedule(text)


def test_the_night_that_clocks_go_forward() -> None:
    """Real time goes on over the hour left out, and the window ends with the clock."""
    night = schedule("22:00-07:00")
    start = datetime(2026, 3, 28, 22, tzinfo=SWEDEN).timestamp()
    open_for = sum(
        night.is_open(datetime.fromtimestamp(start + 900 * step, SWEDEN)) for step in range(60)
    )
    assert open_for / 4 == 8.0


def test_the_night_that_clocks_go_back() -> None:
    """The hour that comes twice counts twice."""
    night = schedule("22:00-07:00")
    start = datetime(2025, 10, 25, 22, tzinfo=SWEDEN).timestamp()
    open_for = sum(
        night.is_open(datetime.fromtimestamp(start + 900 * step, SWEDEN)) for step in range(60)
    )
    assert open_for / 4 == 10.0


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 7 * 1440 - 1))
def test_a_window_and_its_rest_make_a_day(start: int, end: int, minute: int) -> None:
    """Every minute is in exactly one of two windows that meet at both ends."""
    if start == end:
        return
    first, last = (f"{each // 60:02}:{each % 60:02}" for each in (start, end))
    moment = MONDAY + timedelta(minutes=minute)
    one, other = schedule(f"{first}-{last}"), schedule(f"{last}-{first}")
    assert one.is_open(moment) != other.is_open(moment)
