"""How often a node is heard, or the books are asked for it: at once, and in the long run. Pure."""

import math
from typing import Final

BURST: Final = 20
"""Heard at once, after some silence: what waited on a line that stood still comes together."""

PER_SECOND: Final = 12.0
"""Heard in the long run. An agent sends ten in a second at most; more is no agent of ours."""


CLAIMS: Final = 64
"""Names that the books are asked for at once for a node: as many as a beat has."""

CLAIMS_PER_SECOND: Final = 1.0


class Pace:
    """What is left of so many at once and so many in a second; times in seconds of any clock."""

    __slots__ = ("_at", "_burst", "_left", "_per_second")

    def __init__(self, burst: int = BURST, per_second: float = PER_SECOND) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = float(burst)
        self._at = math.inf

    def takes(self, now: float) -> bool:
        """Tell whether one more is in time now."""
        earned = max(0.0, now - self._at) * self._per_second
        self._left = min(self._burst, self._left + earned)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


__all__ = ["BURST", "CLAIMS", "CLAIMS_PER_SECOND", "PER_SECOND", "Pace"]
