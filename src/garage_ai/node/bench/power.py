"""How much electricity a run takes: what the cards say, or the processor's own counters.

The cards that the engine computes on are read through the guard's port (NVML's power usage of whole
cards, not yet run on hardware). Without one there are the energy counters of Intel's and AMD's
processors (RAPL, kernel's powercap): packages alone, all programs on them, so what they give is
marked as an estimate. Most systems let only root read them; then nothing is told, and nothing is
made up.
"""

import asyncio
from collections.abc import Callable, Mapping
from statistics import fmean
from typing import Final, Literal, NamedTuple

from garage_ai.node.engines.port import Device, computes_on
from garage_ai.node.guard.readers.nvml import Cards, NoCards, NvmlCards
from garage_ai.node.guard.readers.rapl import Counter, joules, read_counters

Basis = Literal["", "nvml", "rapl"]

EVERY: Final = 0.5
"""Seconds between two looks; NVML's figure is a mean over the last second on most cards."""


class Power(NamedTuple):
    """Mean watts over a run of so many seconds, and by whom."""

    watts: float | None = None
    basis: Basis = ""
    seconds: float = 0.0

    def watt_hours(self, tokens: int) -> float | None:
        """Give the energy of 1,000 of the tokens that were made meanwhile."""
        if self.watts is None or tokens <= 0:
            return None
        return self.watts * self.seconds / 3600 / tokens * 1000


class PowerMeter:
    """Measures what an engine's device draws, from `start` to `stop`; without one, all cards."""

    def __init__(
        self,
        cards: Cards | None = None,
        counters: Callable[[], Mapping[str, Counter]] = read_counters,
        device: Device | None = None,
    ) -> None:
        self._cards = cards or NvmlCards()
        self._counters = counters
        self._device = device
        self._before: Mapping[str, Counter] = {}
        self._watts: list[float] = []
        self._began = 0.0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        self._before = self._counters()
        self._began = asyncio.get_running_loop().time()
        self._task = asyncio.create_task(self._watch(), name="power")

    async def stop(self) -> Power:
        """End, and give what was found."""
        seconds = asyncio.get_running_loop().time() - self._began
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._watts:
            return Power(fmean(self._watts), "nvml", seconds)
        used = joules(self._before, self._counters())
        if used is None or seconds <= 0:
            return Power()
        return Power(used / seconds, "rapl", seconds)

    async def _watch(self) -> None:
        """Note what the cards draw, until there are none to ask."""
        while True:
            # A driver that hangs keeps this one thread, and the run goes on without watts.
            try:
                cards = await asyncio.to_thread(self._cards.look)
            except NoCards:
                return
            told = [
                card.watts
                for card in cards
                if card.watts is not None and computes_on(self._device, card.uuid)
            ]
            if told:
                self._watts.append(sum(told))
            await asyncio.sleep(EVERY)


__all__ = ["Power", "PowerMeter"]
