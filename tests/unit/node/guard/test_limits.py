"""Limits, what is counted against them, and how both are kept."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from garage_ai.catalog import Catalog
from garage_ai.node.errors import NotPossible
from garage_ai.node.guard.limits import LIMITS, Limits, checked, load_limits, save_limits
from garage_ai.node.guard.quantities import duration, shown_duration, shown_size, size
from garage_ai.node.guard.tally import LONGEST_GAP, Book


def test_limits_are_kept_for_their_owner_alone(tmp_path: Path) -> None:
    """What was set is there at the next start, and nobody else may read it."""
    assert load_limits(tmp_path) == Limits()
    limits = Limits(pause_on=("factorio",), max_price=1.5, price_area="SE3", idle=900.0)
    save_limits(tmp_path, limits)
    assert load_limits(tmp_path) == limits
    assert (tmp_path / LIMITS).stat().st_mode & 0o777 == 0o600


class Newer(Limits, frozen=True, kw_only=True):
    """The limits of a later version."""

    max_noise: float | None = None
    gpu_fan: bool = True


def test_an_older_version_reads_what_a_newer_one_has_kept(tmp_path: Path) -> None:
    """A limit that it does not know, and that nobody has set, makes a rollback no dead end."""
    save_limits(tmp_path, Newer(max_cpu=50.0, on_battery=True))
    assert load_limits(tmp_path) == Limits(max_cpu=50.0, on_battery=True)
    save_limits(tmp_path, Newer(max_noise=40.0))
    with pytest.raises(NotPossible, match="max_noise"):
        load_limits(tmp_path)


@pytest.mark.parametrize("text", ["", "{}x", '{"max_cpu": 500}', '{"max_prise": 1}'])
def test_limits_that_cannot_be_read_are_not_ignored(text: str, tmp_path: Path) -> None:
    """A slip of the pen must not set the node free."""
    (tmp_path / LIMITS).write_text(text)
    (tmp_path / LIMITS).chmod(0o600)
    with pytest.raises(NotPossible, match=r"limits\.json"):
        load_limits(tmp_path)


@pytest.mark.parametrize(
    "limits",
    [
        Limits(max_price=1.0),
        Limits(schedule="whenever"),
        Limits(max_cpu=0.0),
        Limits(max_temperature=1000.0),
        Limits(pause_on=("",)),
        Limits(max_kwh_day=0.0),
        Limits(disk=0),
        Limits(keep=("no-such-model",)),
        Limits(pause_on=("factorio", "/usr/games/doom")),
        Limits(pause_on=("C:\\Games\\doom.exe",)),
    ],
)
def test_impossible_limits_are_refused(limits: Limits) -> None:
    """Before they are kept."""
    with pytest.raises(NotPossible):
        checked(limits, Catalog.load())


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("1h30m", 5400), ("90m", 5400), ("20s", 20), ("1d", 86400)]
)
def test_times_are_read_as_people_write_them(text: str, seconds: float) -> None:
    """And written so that they can be typed again."""
    assert duration(text) == seconds
    assert duration(shown_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "0h", "-1h", "2 hours", "1m1h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """With a sentence that shows how it is written."""
    with pytest.raises(NotPossible):
        duration(text)


@pytest.mark.parametrize(
    ("text", "amount"), [("50GB", 50e9), ("1.5 GiB", 1.5 * 2**30), ("500mb", 5e8), ("1,5GB", 1.5e9)]
)
def test_amounts_are_read_as_people_write_them(text: str, amount: float) -> None:
    """Decimal and binary."""
    assert size(text) == int(amount)


@pytest.mark.parametrize("text", ["", "50", "GB", "50 gigabytes", "-1GB"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    """A number without its unit among them."""
    with pytest.raises(NotPossible):
        size(text)


def test_amounts_are_written_for_people() -> None:
    """In units that fit."""
    assert (shown_size(1.61e9), shown_size(2.5e6)) == ("1.6 GB", "2 MB")


class Wall:
    """A clock on the wall that is moved."""

    def __init__(self) -> None:
        self.at = datetime(2025, 11, 30, 23, 0).astimezone()

    def __call__(self) -> float:
        return self.at.timestamp()


def test_the_month_and_the_day_begin_anew(tmp_path: Path) -> None:
    """What was sent counts for its month, what was made and drawn for its day."""
    wall = Wall()
    book = Book(tmp_path, wall=wall)
    book.sent(700)
    book.made(3)
    book.keep()
    book = Book(tmp_path, wall=wall)
    book.sent(300)
    assert (book.now.sent, book.now.tokens) == (1000, 3)
    wall.at += timedelta(hours=2)
    assert (book.now.sent, book.now.tokens) == (0, 0)


def test_energy_counts_for_its_day_and_its_month(tmp_path: Path) -> None:
    """Each has a limit of its own."""
    wall = Wall()
    wall.at -= timedelta(days=1)
    book = Book(tmp_path, wall=wall)
    for at in (0.0, 10.0):
        book.drawing(3.6e6, None, at)
    assert (book.now.kwh, book.now.kwh_in_month) == (10.0, 10.0)
    wall.at += timedelta(hours=2)
    assert (book.now.kwh, book.now.kwh_in_month) == (0.0, 10.0)
    wall.at += timedelta(days=1)
    assert (book.now.kwh, book.now.kwh_in_month) == (0.0, 0.0)


def test_power_is_summed_only_over_times_that_were_seen(tmp_path: Path) -> None:
    """Half a minute at 360 W is three watt-hours; a gap, or a card that is silent, is nothing."""
    book = Book(tmp_path, wall=Wall())
    for at in (0.0, 10.0, 20.0, 30.0):
        book.drawing(360.0, 2.0, at)
    assert book.now.kwh == pytest.approx(0.003)
    assert book.now.kronor == pytest.approx(0.006)
    book.drawing(360.0, None, 40.0)
    assert book.now.kwh == pytest.approx(0.004)
    assert book.now.priced == pytest.approx(0.003)
    book.drawing(360.0, 2.0, 40.0 + LONGEST_GAP + 1)
    book.drawing(None, 2.0, 80.0)
    book.drawing(360.0, 2.0, 81.0)
    assert book.now.kwh == pytest.approx(0.004)


def test_a_damaged_tally_begins_anew(tmp_path: Path) -> None:
    """Counting is no reason not to start."""
    (tmp_path / "tally.json").write_text('{"sent": -1}')
    (tmp_path / "tally.json").chmod(0o600)
    assert Book(tmp_path, wall=Wall()).now.sent == 0
