"""What other programs do with the processor: all of it, less what the agent and its engine use."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import psutil

from garage_ai.node.guard.limits import Limits
from garage_ai.node.guard.readers.port import FREE, Finding, unknown
from garage_ai.node.guard.signals import SignalName
from garage_ai.node.guard.words import sentence
from garage_ai.node.hardware.families import families

_IDLE: Final = ("idle", "iowait", "guest", "guest_nice")
"""Not work of a program, or (guest) counted a second time in `user`; see proc(5)."""

Pids = frozenset[int] | None


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds of processor time until now: of everything, and of each process of ours."""

    at: float
    busy: float
    cores: int
    ours: dict[int, float] = field(default_factory=dict)


def by_others(before: Sample, now: Sample) -> float:
    """Give the share in percent of all cores that others used between two samples. Pure."""
    span = (now.at - before.at) * max(1, now.cores)
    if span <= 0:
        return 0.0
    # One that began in between has done all its work in between.
    ours = sum(max(0.0, used - before.ours.get(pid, 0.0)) for pid, used in now.ours.items())
    share = 100.0 * (now.busy - before.busy - ours) / span
    return min(100.0, max(0.0, share))


def sample(clock: Callable[[], float], ours: Iterable[int]) -> Sample:
    """Take a sample of this PC."""
    times = psutil.cpu_times()
    busy = sum(times) - sum(getattr(times, name, 0.0) for name in _IDLE)
    used = {pid: _used(pid) for pid in ours}
    return Sample(clock(), busy, os.cpu_count() or 1, used)


def _used(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


class ProcessorOfOthers:
    """Whether others use more of the processor than the owner allows beside them."""

    signal: SignalName = "cpu"
    every = 5.0

    def __init__(self, engine: Callable[[], Pids], clock: Callable[[], float]) -> None:
        self._engine = engine
        self._clock = clock
        self._before: Sample | None = None

    def wanted(self, limits: Limits) -> bool:
        """Tell whether there is a limit."""
        return limits.max_cpu is not None

    async def read(self, limits: Limits) -> Finding:
        """Compare with the last sample."""
        engine = self._engine()
        if engine is None:
            return unknown(sentence("own_server"))
        now = sample(self._clock, families(engine) | {os.getpid()})
        before, self._before = self._before, now
        limit = limits.max_cpu
        if before is None or limit is None:
            return FREE
        use = by_others(before, now)
        if use <= limit:
            return FREE
        return Finding("busy", sentence("cpu", use=_tens(use), limit=limit))


def _tens(use: float) -> float:
    """Round to tens: a reason that changed with every reading would be told with every reading."""
    return round(use, -1)


__all__ = ["Pids", "ProcessorOfOthers", "Sample", "by_others", "sample"]
