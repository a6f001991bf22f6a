"""How much electricity a run takes: what the cards say, or the processor's own counters.

Cards are read through the guard's port (NVML's power usage of whole cards, not yet run on
hardware). Without cards there are the energy counters of Intel's and AMD's processors (RAPL,
kernel's powercap): packages alone, all programs on them, so what they give is marked as an
estimate. Most systems let only root read them; then nothing is told, and nothing is made up.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Final, Literal, NamedTuple

from garage_ai.node.guard.readers.nvml import Cards, NoCards, NvmlCards

Basis = Literal["", "nvml", "rapl"]

EVERY: Final = 0.5
"""Seconds between two looks; NVML's figure is a mean over the last second on most cards."""

POWERCAP: Final = Path("/sys/class/powercap")
_MICRO: Final = 1e-6


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


class Counter(NamedTuple):
    """A processor package's energy so far, and where it begins anew; in microjoules."""

    energy: int
    wraps_at: int


def joules(before: Mapping[str, Counter], after: Mapping[str, Counter]) -> float | None:
    """Give the energy between two readings, None where there is no counter in both. Pure.

    A counter that has gone back has begun anew, once: it takes minutes at full load to come round.
    """
    used = []
    for name, then in before.items():
        now = after.get(name)
        if now is not None:
            step = now.energy - then.energy
            used.append(step if step >= 0 else step + then.wraps_at)
    return sum(used) * _MICRO if used else None


def read_counters(powercap: Path = POWERCAP) -> dict[str, Counter]:
    """Read the counters of whole packages; empty where there are none, or none for us."""
    found = {}
    # `intel-rapl:0` is a package (AMD's too), `intel-rapl:0:1` a part of one.
    for zone in sorted(powercap.glob("intel-rapl:[0-9]*")):
        if zone.name.count(":") != 1:
            continue
        try:
            energy = int((zone / "energy_uj").read_text("ascii"))
            wraps_at = int((zone / "max_energy_range_uj").read_text("ascii"))
        except (OSError, ValueError):
            continue
        found[zone.name] = Counter(energy, wraps_at)
    return found


class PowerMeter:
    """Measures from `start` to `stop`."""

    def __init__(
        self,
        cards: Cards | None = None,
        counters: Callable[[], Mapping[str, Counter]] = read_counters,
    ) -> None:
        self._cards = cards or NvmlCards()
        self._counters = counters
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
            told = [card.watts for card in cards if card.watts is not None]
            if told:
                self._watts.append(sum(told))
            await asyncio.sleep(EVERY)


__all__ = ["Counter", "Power", "PowerMeter", "joules", "read_counters"]
