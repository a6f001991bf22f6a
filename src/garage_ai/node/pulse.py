"""When a node beats: regularly, and at once after a change that gateways act on. Pure."""

from collections.abc import Callable
from typing import Final

from garage_ai.wire.messages import BEAT_INTERVAL

JITTER: Final = 0.1
"""Share of the interval by which beats scatter, so that a thousand nodes do not beat as one."""

SHORTEST: Final = 0.1
"""Seconds between two beats at least."""


class Pulse:
    """Say how long until the next beat. Times in seconds; `draw` gives a number in [0, 1)."""

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._face: object = None
        self._changed = True
        self._last = float("-inf")
        self._due = float("-inf")

    def look(self, face: object) -> bool:
        """Note what the gateways would be told; True if that must be told at once."""
        if face != self._face:
            self._face = face
            self._changed = True
        return self._changed

    def wait(self, now: float) -> float:
        """Give the seconds until the next beat; 0 if it is due."""
        due = self._last + SHORTEST if self._changed else self._due
        return max(0.0, due - now)

    def hasten(self, now: float, within: float) -> None:
        """Bring the next beat forward to some moment within so many seconds."""
        asked = max(now + within * self._draw(), self._last + SHORTEST)
        self._due = min(self._due, asked)

    def beaten(self, now: float) -> None:
        """Note that a beat was sent."""
        self._changed = False
        self._last = now
        self._due = now + BEAT_INTERVAL * (1 - JITTER + 2 * JITTER * self._draw())


__all__ = ["JITTER", "SHORTEST", "Pulse"]
