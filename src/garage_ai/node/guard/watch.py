"""Ask the readers, each in its own time, and let the machine decide."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from garage_ai.node.guard.limits import Limits
from garage_ai.node.guard.machine import Decision, Machine
from garage_ai.node.guard.readers.port import Finding, Reader, unknown
from garage_ai.node.guard.signals import RULES, Reading, Rule, SignalName
from garage_ai.node.guard.words import sentence

_log = structlog.get_logger(__name__)

FIRST_SECONDS: Final = 3.0
"""Longest look around before the engine is started; what has not answered is unknown so far."""

READ_SECONDS: Final = 15.0
TICK_SECONDS: Final = 0.5
"""Between two decisions while the node stands back and may come back."""

CALM_SECONDS: Final = 1.0
"""Between two decisions otherwise; a reading brings one with it besides."""

UNKNOWN_SECONDS: Final = 30.0
"""Between two readings of what cannot be read: what is not installed costs next to nothing.

What could be read so lately is asked as often as ever: a driver that stumbles once, when a game
starts or the PC wakes, must not hide that game for so long.
"""

_UNWANTED_SECONDS: Final = 60.0


class Watch:
    """The guard's eyes; `decided` is called with every decision that differs from the last."""

    def __init__(
        self,
        readers: Sequence[Reader],
        limits: Limits,
        *,
        clock: Callable[[], float],
        working: Callable[[], bool],
        decided: Callable[[Decision], None],
        rules: dict[SignalName, Rule] = RULES,
    ) -> None:
        self.readings: dict[SignalName, Reading] = {}
        self.decision = Decision("serve")
        self._known_at: dict[SignalName, float] = {}
        self._readers = {reader.signal: reader for reader in readers}
        self._wakes = {signal: asyncio.Event() for signal in self._readers}
        self._machine = Machine(rules)
        self._clock = clock
        self._working = working
        self._decided = decided
        self._limits = limits
        self.heed(limits)

    def heed(self, limits: Limits) -> None:
        """Take other limits over, and look at once."""
        self._limits = limits
        self._machine.drain = limits.drain
        self._machine.resume_after = limits.resume_after
        for wake in self._wakes.values():
            wake.set()

    def trust(self) -> None:
        """Take the owner's word that what held and can no longer be read is over."""
        self._machine.trust(self._clock())

    async def first(self) -> Decision:
        """Look around once, before anything is served."""
        reads = [asyncio.create_task(self._read(each)) for each in self._readers.values()]
        await asyncio.wait(reads, timeout=FIRST_SECONDS)
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)
        for signal, reader in self._readers.items():
            if signal not in self.readings and reader.wanted(self._limits):
                self.take(signal, unknown(sentence("unread")))
        self._machine.believe()
        self._decide()
        return self.decision

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reader in self._readers.values():
                group.create_task(self._read_for_ever(reader), name=f"guard-{reader.signal}")
            while True:
                self._decide()
                serves = self.decision.action in ("serve", "resume")
                await asyncio.sleep(CALM_SECONDS if serves else TICK_SECONDS)

    async def _read_for_ever(self, reader: Reader) -> None:
        wake = self._wakes[reader.signal]
        while True:
            wake.clear()
            await self._read(reader)
            wait = self._wait(reader)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await wake.wait()

    def _wait(self, reader: Reader) -> float:
        if not reader.wanted(self._limits):
            return _UNWANTED_SECONDS
        reading = self.readings.get(reader.signal)
        if reading is None or reading.verdict != "unknown":
            return reader.every
        known_at = self._known_at.get(reader.signal)
        lately = known_at is not None and reading.at - known_at < UNKNOWN_SECONDS
        return reader.every if lately else max(reader.every, UNKNOWN_SECONDS)

    async def _read(self, reader: Reader) -> None:
        limits = self._limits
        if not reader.wanted(limits):
            self.readings.pop(reader.signal, None)
            self._machine.forget(reader.signal)
            return
        try:
            async with asyncio.timeout(READ_SECONDS):
                finding = await reader.read(limits)
        except TimeoutError:
            finding = unknown(sentence("stale", seconds=READ_SECONDS))
        except Exception as error:
            # One reader that breaks must not blind the others.
            _log.exception("reader_broke", signal=reader.signal)
            finding = unknown(sentence("broken", detail=type(error).__name__))
        if limits is self._limits:
            self.take(reader.signal, finding)

    def take(self, signal: SignalName, finding: Finding) -> None:
        """Take what was found, and decide."""
        reading = Reading(signal, finding.verdict, self._clock(), finding.why, finding.urgent)
        self.readings[signal] = reading
        if reading.verdict != "unknown":
            self._known_at[signal] = reading.at
        self._machine.take(reading)
        self._decide()

    def _decide(self) -> None:
        decision = self._machine.decide(self._clock(), working=self._working())
        if decision != self.decision:
            self.decision = decision
            self._decided(decision)


__all__ = ["FIRST_SECONDS", "READ_SECONDS", "Watch"]
