"""What lending draws, and how much of it the owner allows."""

from collections.abc import Callable
from pathlib import Path

import pytest

from garage_ai.node.guard.limits import Limits
from garage_ai.node.guard.power import Draw, Power
from garage_ai.node.guard.readers.hours import Energy
from garage_ai.node.guard.readers.nvml import Card
from garage_ai.node.guard.readers.rapl import LONGEST, Counter, Rapl, joules, read_counters
from garage_ai.node.guard.words import NOTHING, sentence

pytestmark = pytest.mark.anyio

Count = Callable[..., None]


@pytest.fixture
def count(tmp_path: Path) -> Count:
    """Let a processor's counters stand somewhere: two packages, a part of one, and the whole PC."""

    def write(*microjoules: int) -> None:
        names = ("package-0", "package-1")
        zones = zip(("intel-rapl:0", "intel-rapl:1"), names, microjoules, strict=True)
        extra = [("intel-rapl:0:0", "core", 5), ("intel-rapl:2", "psys", 5)]
        for zone, name, energy in (*zones, *extra):
            folder = tmp_path / zone
            folder.mkdir(exist_ok=True)
            (folder / "name").write_text(f"{name}\n")
            (folder / "energy_uj").write_text(f"{energy}\n")
            (folder / "max_energy_range_uj").write_text("262143328850\n")

    return write


def test_packages_are_summed_over_the_time_between(tmp_path: Path, count: Count) -> None:
    """The first look tells nothing yet; parts of a package are in it already."""
    rapl = Rapl(tmp_path)
    count(1_000_000, 0)
    assert rapl.watts(0.0) is None
    count(41_000_000, 10_000_000)
    assert rapl.watts(2.0) == pytest.approx(25.0)


def test_a_counter_begins_anew(tmp_path: Path, count: Count) -> None:
    """It goes round at what the kernel says, and is not believed after too long a time."""
    rapl = Rapl(tmp_path)
    count(262_143_328_850 - 4_000_000, 0)
    rapl.watts(0.0)
    count(6_000_000, 0)
    assert rapl.watts(1.0) == pytest.approx(10.0)
    assert rapl.watts(2.0 + LONGEST) is None


def test_counters_that_may_not_be_read_tell_nothing(tmp_path: Path, count: Count) -> None:
    """Most systems show them to root alone; some have none."""
    count(0, 0)
    (tmp_path / "intel-rapl:1" / "energy_uj").unlink()
    rapl = Rapl(tmp_path)
    assert (rapl.watts(0.0), rapl.watts(1.0)) == (None, None)
    assert Rapl(tmp_path / "none").watts(0.0) is None


def test_all_meters_are_summed_and_named(tmp_path: Path, count: Count) -> None:
    """A card that does not tell makes the cards unknown; then the processor stands alone."""
    cards = [Card("GPU-0", watts=200.0, most_watts=320.0), Card("GPU-1", watts=50.0)]
    power = Power(lambda: cards, Rapl(tmp_path))
    count(0, 0)
    assert power.read(0.0) == Draw(250.0, ("cards",), None)
    count(30_000_000, 0)
    assert power.read(1.0) == Draw(280.0, ("cards", "processor"), None)
    cards[1:] = []
    assert Power(lambda: cards, Rapl(tmp_path / "none")).read(0.0) == Draw(200.0, ("cards",), 320.0)
    cards.append(Card("GPU-2"))
    count(60_000_000, 0)
    assert power.read(2.0) == Draw(30.0, ("processor",), None)
    assert Power(list, Rapl(tmp_path / "none")).read(0.0) is None


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(max_kwh_day=2.0), sentence("energy.day", used=2.5, limit=2.0)),
        (Limits(max_kwh_month=20.0), sentence("energy.month", used=30.0, limit=20.0)),
        (Limits(max_kwh_day=3.0, max_kwh_month=31.0), None),
    ],
)
async def test_what_was_drawn_is_held_against_the_limits(limits: Limits, why: object) -> None:
    """Of the day and of the month; either is enough."""
    finding = await Energy(lambda: (2.5, 30.0)).read(limits)
    assert (finding.verdict, finding.why) == (("busy", why) if why else ("free", NOTHING))


async def test_a_limit_on_what_nobody_measures_is_not_ignored() -> None:
    """The owner is told; nothing is watched unless there is a limit."""
    energy = Energy(lambda: None)
    assert (await energy.read(Limits(max_kwh_day=1.0))).why == sentence("no_power")
    assert not energy.wanted(Limits())
    assert energy.wanted(Limits(max_kwh_month=1.0))


def test_counters_come_round() -> None:
    """Those that have begun anew count from there; one that has gone is left out."""
    before = {"a": Counter(900, 1000), "b": Counter(10, 1000), "c": Counter(0, 1000)}
    after = {"a": Counter(100, 1000), "b": Counter(30, 1000)}
    assert joules(before, after) == pytest.approx(220e-6)
    assert joules({}, after) is None


def test_only_whole_packages_are_read(tmp_path: Path, count: Count) -> None:
    """Parts of them, and the whole PC, would count twice; what is for root is not there for us."""
    assert read_counters(tmp_path) == {}
    count(12, 5)
    wraps_at = 262_143_328_850
    packages = {"intel-rapl:0": Counter(12, wraps_at), "intel-rapl:1": Counter(5, wraps_at)}
    assert read_counters(tmp_path) == packages
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("x")
    assert read_counters(tmp_path) == {}
