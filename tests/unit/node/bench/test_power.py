"""Watts of a run: by the cards' word, by the processor's counters, or not at all."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from garage_ai.node.bench import power
from garage_ai.node.bench.measure import class_factor
from garage_ai.node.bench.power import Power, PowerMeter
from garage_ai.node.engines.port import Device
from garage_ai.node.guard.readers.nvml import Card, NoCards
from garage_ai.node.guard.readers.rapl import Counter
from garage_ai.node.guard.words import sentence
from garage_ai.node.hardware.models import Gpu

pytestmark = pytest.mark.anyio

GIB = 1 << 30


class Cards:
    """Two cards that draw what the test says, one look after the other; then nothing is known."""

    def __init__(self, *looks: tuple[float | None, float | None]) -> None:
        self._looks = list(looks)
        self.over = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def look(self) -> Sequence[Card]:
        if not self._looks:
            self._loop.call_soon_threadsafe(self.over.set)
            raise NoCards(sentence("gpu.none"))
        return [Card(f"GPU-{n}", watts=watts) for n, watts in enumerate(self._looks.pop(0))]


async def metered(
    cards: Cards, counters: Sequence[Mapping[str, Counter]], device: Device | None = None
) -> Power:
    readings = list(counters)
    meter = PowerMeter(cards, lambda: readings.pop(0), device)
    await meter.start()
    async with asyncio.timeout(20):
        await cards.over.wait()
    return await meter.stop()


async def test_cards_draws_are_added_up_and_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A card that does not tell counts for nothing; the processor is not asked then."""
    monkeypatch.setattr(power, "EVERY", 0.0)
    found = await metered(Cards((200.0, 100.0), (250.0, None)), [{}])
    assert (found.watts, found.basis) == (275.0, "nvml")


async def test_only_the_engines_own_card_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a game draws on the other one is no cost of a token."""
    monkeypatch.setattr(power, "EVERY", 0.0)
    looks = (200.0, 100.0), (250.0, 300.0)
    found = await metered(Cards(*looks), [{}], Device(("GPU-0",)))
    assert (found.watts, found.basis) == (225.0, "nvml")
    before, after = {"intel-rapl:0": Counter(0, 10**9)}, {"intel-rapl:0": Counter(5 * 10**7, 10**9)}
    on_the_processor = await metered(Cards(*looks), [before, after], Device())
    assert on_the_processor.basis == "rapl"


async def test_without_cards_the_processors_counters_count() -> None:
    """The energy between two readings over the time between them."""
    before, after = {"intel-rapl:0": Counter(0, 10**9)}, {"intel-rapl:0": Counter(5 * 10**7, 10**9)}
    found = await metered(Cards(), [before, after])
    assert found.basis == "rapl"
    assert found.watts == pytest.approx(50.0 / found.seconds)


async def test_where_nobody_tells_nothing_is_made_up() -> None:
    """Not zero: not known."""
    assert await metered(Cards(), [{}, {}]) == Power()
    assert Power().watt_hours(1000) is None
    assert Power(100.0, "nvml", 36.0).watt_hours(0) is None
    assert Power(100.0, "nvml", 36.0).watt_hours(500) == 2.0


def test_the_slowest_card_gives_the_class() -> None:
    """One RTX 3090 is the unit; a card nobody publishes figures of has no class."""
    reference = Gpu(name="NVIDIA GeForce RTX 3090", uuid="1", total=24 * GIB, free=0)
    slower = Gpu(name="NVIDIA GeForce RTX 3060", uuid="2", total=12 * GIB, free=0)
    assert class_factor([reference]) == 1.0
    assert class_factor([reference, slower]) == 0.385
    assert class_factor([reference, Gpu(name="Voodoo 3", uuid="3", total=GIB, free=0)]) is None
    assert class_factor([]) is None
