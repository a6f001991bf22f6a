"""What a fetch says about itself while it runs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Phase = Literal["checking", "waiting", "fetching"]

_REPORT_EVERY_S = 0.1  # ten a second look smooth and cost nothing
_SPEED_WINDOW_S = 2.0  # shorter jumps about, longer hides a stall


@dataclass(frozen=True, slots=True)
class Progress:
    """One file's state: `done` of `total` bytes, `speed` in bytes per second of late.

    `checking` reads a file that is here, `waiting` stands behind another process that
    fetches the same model, `fetching` downloads.
    """

    file: str
    phase: Phase
    done: int
    total: int
    speed: float


OnProgress = Callable[[Progress], None]


class Meter:
    """Turns byte counts of one file and phase into a moderate number of reports."""

    def __init__(
        self,
        on_progress: OnProgress | None,
        file: str,
        phase: Phase,
        total: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = on_progress
        self._file, self._phase, self._total = file, phase, total
        self._clock = clock
        self._told_at: float | None = None
        self._mark: tuple[float, int] | None = None
        self._speed = 0.0

    def at(self, done: int) -> None:
        """Note that `done` bytes of the file are through; reports the first, the last and some."""
        if self._tell is None:
            return
        now = self._clock()
        self._measure(now, done)
        due = self._told_at is None or now - self._told_at >= _REPORT_EVERY_S
        if due or done >= self._total:
            self._told_at = now
            self._tell(Progress(self._file, self._phase, done, self._total, self._speed))

    def _measure(self, now: float, done: int) -> None:
        if self._mark is None or done < self._mark[1]:
            self._mark = (now, done)  # the first bytes were here before, or it began anew
            return
        since, base = self._mark
        if now > since:
            self._speed = (done - base) / (now - since)
        if now - since >= _SPEED_WINDOW_S:
            self._mark = (now, done)
