"""Electricity prices, on recorded pages."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from garage_ai.catalog.spot_prices import SPOT
from garage_ai.node.guard.limits import Limits
from garage_ai.node.guard.prices import day_of, price_at, price_like, prices_in
from garage_ai.node.guard.readers.electricity import (
    FIRST_WAIT,
    SOURCE,
    Electricity,
    NotFetched,
    PriceBook,
)
from garage_ai.node.guard.words import sentence

pytestmark = pytest.mark.anyio

RECORDED = Path(__file__).parent / "recorded"
HOURS = (RECORDED / "elpris-2025-09-04-hours.json").read_bytes()
QUARTERS = (RECORDED / "elpris-2025-10-12-quarters.json").read_bytes()
DAY = date(2025, 10, 12)
AT = datetime(2025, 10, 11, 22, 20, tzinfo=UTC)
LIMITS = Limits(max_price=0.05, price_area="SE3")


class Source:
    """Where pages come from: what it was asked for, and what it answers."""

    def __init__(self, page: bytes | None) -> None:
        self.page = page
        self.asked: list[str] = []

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if self.page is None:
            raise NotFetched("away")
        return self.page


class Clock:
    """A clock that is moved."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def wall(self) -> float:
        return self.at.timestamp()


def reader(folder: Path, source: Source, clock: Clock) -> Electricity:
    book = PriceBook(folder, fetch=source.fetch, draw=lambda: 1.0)
    return Electricity(book, wall=clock.wall, clock=clock.wall)


def test_reads_hours_and_quarters() -> None:
    """Both forms that the source has had; a price holds up to its end and not at it."""
    hours, quarters = prices_in(HOURS), prices_in(QUARTERS)
    assert (len(hours), len(quarters)) == (6, 2)
    assert price_at(quarters, AT - timedelta(minutes=5, microseconds=1)) == 0.05878
    assert price_at(quarters, AT - timedelta(minutes=5)) == 0.04751
    assert price_at(quarters, AT + timedelta(minutes=10)) is None
    assert price_at(hours, datetime(2025, 9, 4, 1, 30, tzinfo=UTC)) == 0.04201


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"[]",
        b"<html>",
        b'[{"SEK_per_kWh":"x","time_start":"2025-10-12T00:00:00+02:00"}]',
        QUARTERS.replace(b"+02:00", b""),
        QUARTERS.replace(b"0.05878", b"1e9"),
        b"[" * 100_000,
    ],
)
def test_what_are_no_prices_is_refused(page: bytes) -> None:
    """A page of something else, a price beyond belief, a time without a zone."""
    with pytest.raises(ValueError, match="these are no prices"):
        prices_in(page)


def test_another_day_stands_in_by_the_clock() -> None:
    """The same time of day counts, in Swedish time, whatever the zone of the question."""
    assert price_like(prices_in(HOURS), datetime(2025, 9, 5, 2, 10, tzinfo=UTC)) == 0.04146
    assert price_like([], AT) is None
    assert day_of(datetime(2025, 10, 11, 22, 0, tzinfo=UTC)) == DAY


async def test_compares_the_price_with_the_limit(tmp_path: Path) -> None:
    """One page is fetched for the day and kept; the next agent reads it from the folder."""
    source, clock = Source(QUARTERS), Clock(AT - timedelta(minutes=15))
    electricity = reader(tmp_path, source, clock)
    finding = await electricity.read(LIMITS)
    assert finding.why == sentence("price", price=0.05878, area="SE3", limit=0.05)
    clock.at = AT
    assert (await electricity.read(LIMITS)).verdict == "free"
    assert electricity.price == 0.04751
    assert (await reader(tmp_path, source, clock).read(LIMITS)).verdict == "free"
    assert source.asked == [f"{SOURCE}/2025/10-12_SE3.json"]


async def test_waits_longer_and_longer_for_a_source_that_is_away(tmp_path: Path) -> None:
    """It is not asked again before its time; with no price at all a table tells."""
    source, clock = Source(None), Clock(AT)
    electricity = reader(tmp_path, source, clock)
    finding = await electricity.read(LIMITS)
    assert finding.why == sentence("price.table", price=SPOT["SE3"], area="SE3", limit=0.05)
    for wait in (FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT):
        asked = len(source.asked)
        clock.at += timedelta(seconds=wait - 1)
        await electricity.read(LIMITS)
        assert len(source.asked) == asked
        clock.at += timedelta(seconds=1)
        await electricity.read(LIMITS)
        assert len(source.asked) == asked + 1


async def test_yesterdays_prices_stand_in(tmp_path: Path) -> None:
    """While today's are not to be had, and the reason says so."""
    source, clock = Source(QUARTERS), Clock(AT)
    electricity = reader(tmp_path, source, clock)
    await electricity.read(LIMITS)
    source.page = None
    clock.at = AT + timedelta(days=1)
    assert (await electricity.read(LIMITS)).verdict == "free"
    assert (electricity.price, electricity.basis) == (0.04751, "before")
    clock.at -= timedelta(minutes=15)
    finding = await electricity.read(LIMITS)
    before = sentence("price.before", price=0.05878, area="SE3", limit=0.05, day=DAY)
    assert finding.why == before


async def test_without_any_price_a_table_says_whether_to_serve(tmp_path: Path) -> None:
    """A source that is away costs nobody his node; who wants it for less than usual has it stop."""
    for area, price in SPOT.items():
        electricity = reader(tmp_path, Source(None), Clock(AT))
        dear, cheap = price - 0.01, price + 0.01
        limits = msgspec.convert({"max_price": dear, "price_area": area}, Limits)
        assert (await electricity.read(limits)).verdict == "busy"
        limits = msgspec.structs.replace(limits, max_price=cheap)
        assert (await electricity.read(limits)).verdict == "free"
        assert (electricity.price, electricity.basis) == (price, "table")
    assert (await electricity.read(Limits(max_price=9.0))).why == sentence("no_area")


async def test_a_damaged_page_in_the_folder_is_fetched_anew(tmp_path: Path) -> None:
    """And old days do not pile up."""
    for name in ("2025-10-12_SE3.json", "2024-01-01_SE3.json"):
        (tmp_path / name).write_text("{half")
    assert (await reader(tmp_path, Source(QUARTERS), Clock(AT)).read(LIMITS)).verdict == "free"
    assert os.listdir(tmp_path) == ["2025-10-12_SE3.json"]  # noqa: PTH208


async def test_an_area_alone_counts_kronor_and_keeps_from_nothing(tmp_path: Path) -> None:
    """Whoever says where the PC is wants to know what it costs; without a limit all is free."""
    counting = Limits(price_area="SE3")
    electricity = reader(tmp_path, Source(QUARTERS), Clock(AT))
    assert electricity.wanted(counting)
    assert not electricity.wanted(Limits())
    assert (await electricity.read(counting)).verdict == "free"
    assert electricity.price == 0.04751
    away = reader(tmp_path / "elsewhere", Source(None), Clock(AT))
    assert (await away.read(counting)).verdict == "free"
    assert (away.price, away.basis) == (SPOT["SE3"], "table")
