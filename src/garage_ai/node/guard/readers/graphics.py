"""Whether somebody else wants the graphics card: memory or use by a process that is not ours."""

import asyncio
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final

from garage_ai.node.engines.port import Device, computes_on
from garage_ai.node.guard.limits import Limits
from garage_ai.node.guard.quantities import shown_size
from garage_ai.node.guard.readers.nvml import Card, Cards, GpuProcess, NoCards
from garage_ai.node.guard.readers.port import FREE, Finding, unknown
from garage_ai.node.guard.readers.processor import Pids
from garage_ai.node.guard.signals import SignalName
from garage_ai.node.guard.words import Sentence, sentence

_DEEPEST: Final = 64
"""Parents that are asked for; deeper trees of processes than that are a mistake."""


def judge(
    cards: Sequence[Card],
    limits: Limits,
    is_ours: Callable[[int], bool],
    name_of: Callable[[int], str],
) -> Finding:
    """Say whether a process that is not ours takes more than the owner's limits. Pure."""
    for card in cards:
        for process in card.processes:
            why = _too_much(process, limits, name_of)
            if why is not None and not is_ours(process.pid):
                return Finding("busy", why)
    return FREE


def _too_much(
    process: GpuProcess, limits: Limits, name_of: Callable[[int], str]
) -> Sentence | None:
    if process.memory is not None and process.memory >= limits.gpu_memory:
        name = name_of(process.pid)
        # To half a gigabyte: a reason that changed with every reading would be told each time.
        steps = round(process.memory / 5e8) * 5e8
        return sentence("gpu.memory", name=name, memory=shown_size(steps))
    if process.use is not None and process.use >= limits.gpu_use:
        return sentence("gpu.use", name=name_of(process.pid), use=round(process.use, -1))
    return None


def _nothing() -> None:
    return None


class Graphics:
    """The reader. Fails open, and says so: not every card tells."""

    signal: SignalName = "gpu"
    every = 1.0

    def __init__(
        self,
        cards: Cards,
        engine: Callable[[], Pids],
        device: Callable[[], Device | None] = _nothing,
        proc: Path = Path("/proc"),
    ) -> None:
        self._cards = cards
        self._engine = engine
        self._device = device
        self._proc = proc
        self.last: Sequence[Card] = ()
        """What the cards said the last time, for those who want to see them all."""
        self._looking: asyncio.Future[Sequence[Card]] | None = None

    def wanted(self, limits: Limits) -> bool:
        """Tell whether the owner wants it."""
        return limits.gpu

    async def read(self, limits: Limits) -> Finding:
        """Look at the cards."""
        engine = self._engine()
        try:
            self.last = await self._look()
        except NoCards as none:
            self.last = ()
            return unknown(none.why)
        if engine is None:
            return unknown(sentence("own_server"))
        if silent := self._silent():
            return unknown(sentence("broken", detail=silent))
        ours = {os.getpid(), *engine}
        return judge(self._watched(), limits, lambda pid: self._is_ours(pid, ours), self._name)

    @property
    def lent(self) -> Sequence[Card]:
        """The cards whose watts and degrees are of lending: those the engine computes on.

        None for one on the processor, whose own meters and sensors tell of it; all of them where
        nobody says which, as with a server of the owner's.
        """
        device = self._device()
        return [card for card in self.last if computes_on(device, card.uuid)]

    def _watched(self) -> Sequence[Card]:
        """Give the cards on which a game counts: those that are lent.

        All of them for an engine on the processor: a game wants the processor as well.
        """
        device = self._device()
        return self.lent if device is not None and device.cards else self.last

    def _silent(self) -> str:
        """Name cards of the engine's that said nothing: of them nobody knows who uses them."""
        device = self._device()
        lent = set(device.cards) if device is not None else set()
        return ", ".join(sorted(lent.difference(card.uuid for card in self.last)))

    async def _look(self) -> Sequence[Card]:
        """Look in a thread: a driver that hangs must not stop the agent, nor take more threads.

        Raises: NoCards.
        """
        if self._looking is not None and not self._looking.done():
            raise NoCards(sentence("no_answer", name="NVML"))
        self._looking = asyncio.ensure_future(asyncio.to_thread(self._cards.look))
        return await asyncio.shield(self._looking)

    def _is_ours(self, pid: int, ours: Collection[int]) -> bool:
        """Tell whether a process is the agent's or its engine's, or a child of theirs."""
        for _ in range(_DEEPEST):
            if pid in ours:
                return True
            pid = self._parent(pid)
            if pid <= 1:
                return False
        return False

    def _parent(self, pid: int) -> int:
        """Give the parent (proc_pid_stat(5)); 0 when the process is gone or hidden."""
        try:
            stat = (self._proc / str(pid) / "stat").read_text(errors="replace")
            return int(stat.rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return 0

    def _name(self, pid: int) -> str:
        try:
            return (self._proc / str(pid) / "comm").read_text(errors="replace").strip()
        except OSError:
            return f"process {pid}"


__all__ = ["Graphics", "judge"]
