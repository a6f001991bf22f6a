"""Where an engine's memory is: the PC's own, or that of its cards. How much is free, how much held.

Both may wait for a driver, so they are asked from a thread.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Final, Protocol

import psutil

from garage_ai.node.fitting.book import PROCESSOR
from garage_ai.node.guard.readers.nvml import Cards, NoCards, NvmlCards
from garage_ai.node.hardware.models import Gpu, Gpus
from garage_ai.node.hardware.pc import read_cpu, read_gpus

_PROC: Final = Path("/proc")


class Machine(Protocol):
    """What holds an engine's weights and cache."""

    @property
    def device(self) -> str:
        """Name it, for people and for telling it from another one."""

    @property
    def driver(self) -> str:
        """Give its driver's version; empty where there is none."""

    def room(self) -> int | None:
        """Give the bytes that are free now; None where nobody tells."""

    def held(self, pids: Collection[int]) -> int | None:
        """Give the most bytes these processes have held, or hold now; None where nobody tells."""


class Processor:
    """The PC's own memory; `limit` is what a sandbox leaves of it, None where it bounds nothing."""

    driver: Final = ""

    def __init__(self, limit: int | None = None, root: Path = Path("/")) -> None:
        self.device = f"{PROCESSOR}{read_cpu(root)}"
        self._limit = limit

    def room(self) -> int:
        """Give what programs may still use; pages of files that could go count as free."""
        available = int(psutil.virtual_memory().available)
        return available if self._limit is None else min(available, self._limit)

    def held(self, pids: Collection[int]) -> int | None:
        """Add up the peaks of the processes' resident memory, weights that are mapped among it."""
        peaks = [peak for pid in pids if (peak := resident_peak(pid)) is not None]
        return sum(peaks) if peaks else None


class OnCards:
    """The memory of NVIDIA cards, of some by their UUIDs or of all. Not yet run on hardware."""

    def __init__(self, gpus: Gpus, cards: Cards | None = None, uuids: Collection[str] = ()) -> None:
        self._uuids = frozenset(uuids)
        self.device = ", ".join(card.name for card in self._mine(gpus))
        self.driver = gpus.driver
        self._cards = cards or NvmlCards()

    def room(self) -> int | None:
        """Give what is free on all cards together."""
        cards = self._mine(read_gpus())
        return sum(card.free for card in cards) if cards else None

    def _mine(self, gpus: Gpus) -> list[Gpu]:
        return [card for card in gpus.cards if not self._uuids or card.uuid in self._uuids]

    def held(self, pids: Collection[int]) -> int | None:
        """Add up what the processes hold on all cards; engines give nothing back as they run.

        None where a card of the engine's says nothing: what is on the others is not all.
        """
        try:
            cards = self._cards.look()
        except NoCards:
            return None
        if not self._uuids.issubset(card.uuid for card in cards):
            return None
        found = [
            process.memory
            for card in cards
            for process in card.processes
            if process.pid in pids and process.memory is not None
        ]
        return sum(found) if found else None


def machine_for(
    *, on_cards: bool, limit: int | None = None, uuids: Collection[str] = ()
) -> Machine:
    """Give the machine that an engine runs on; asks the driver where that is a card.

    `uuids` are the cards it is given, none: all of them.
    """
    return OnCards(read_gpus(), uuids=uuids) if on_cards else Processor(limit)


def resident_peak(pid: int, proc: Path = _PROC) -> int | None:
    """Give the most bytes of memory a process has had (`VmHWM`, proc_pid_status(5)).

    None when it is gone or hidden.
    """
    try:
        lines = (proc / str(pid) / "status").read_text(errors="replace").splitlines()
    except OSError:
        return None
    found = next((line.split() for line in lines if line.startswith("VmHWM:")), None)
    return int(found[1]) * 1024 if found is not None and found[1].isdecimal() else None


__all__ = ["Machine", "OnCards", "Processor", "machine_for", "resident_peak"]
