"""How a gateway goes: whoever chooses between several hears of it before its port is closed."""

import time
from collections.abc import Callable
from typing import Final

LEAVING_SECONDS: Final = 10.0
"""Longest time between the wish to end and the closed port.

Three looks of a load balancer that looks every three seconds; what is taken up in it has the rest
of the time that a stop takes, twenty seconds at least.
"""
CHOOSES_SECONDS: Final = 60.0
"""Who has not asked for so long does not choose by the answers."""


class Leaving:
    """Whether this gateway is about to go, and whether somebody has yet to hear of it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asked_at: float | None = None
        self._begun_at: float | None = None

    @property
    def has_begun(self) -> bool:
        """Whether it is about to go."""
        return self._begun_at is not None

    @property
    def seconds(self) -> float:
        """For how long it has been."""
        return 0.0 if self._begun_at is None else self._clock() - self._begun_at

    def asked(self) -> None:
        """Note that somebody asks whether requests may be sent here."""
        self._asked_at = self._clock()

    def begin(self) -> None:
        """Be about to go; once more changes nothing."""
        if self._begun_at is None:
            self._begun_at = self._clock()

    def is_over(self, *, working: bool) -> bool:
        """Tell whether the port may be closed.

        While requests run, nothing is lost by waiting; without them only one who asks is waited
        for.
        """
        if self._begun_at is None:
            return False
        if self.seconds >= LEAVING_SECONDS:
            return True
        return not working and not self._is_heeded()

    def _is_heeded(self) -> bool:
        return self._asked_at is not None and self._clock() - self._asked_at < CHOOSES_SECONDS


__all__ = ["CHOOSES_SECONDS", "LEAVING_SECONDS", "Leaving"]
