"""How often a node is heard: what it may send at once, and in the long run. Pure."""

import math
from typing import Final

BURST: Final = 20
"""Heard at once, after some silence: what waited on a line that stood still comes together."""

PER_SECOND: Final = 12.0
"""Heard in the long run. An agent sends ten in a second at most; more is no agent of ours."""


class Pace:
    """What is left of that; times in seconds of any clock."""

    __slots__ = ("_at", "_left")

    def __init__(self) -> None:
        self._left = float(BURST)
        self._at = math.inf

    def takes(self, now: float) -> bool:
        """Tell whether one more is heard now."""
        self._left = min(BURST, self._left + max(0.0, now - self._at) * PER_SECOND)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


__all__ = ["BURST", "PER_SECOND", "Pace"]
