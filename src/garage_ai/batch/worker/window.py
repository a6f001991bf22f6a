"""How many items of a model are begun: as many as fill its slots, fewer without room. Pure.

Several gateways fill the same nodes and do not know of each other. Each begins with all slots; one
that is refused for want of room halves its window and pauses, a little longer each time, and every
item that ends widens it by a part of one (additive increase, multiplicative decrease: Chiu and
Jain, 1989).
"""

from dataclasses import dataclass
from typing import Final

FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 10.0

LEAST_AHEAD: Final = 2
AHEAD: Final = 4
"""One in so many slots has an item that waits for it: a slot that falls free is taken at once."""


@dataclass(slots=True)
class Window:
    """What is under way of one model; moments and pauses in seconds."""

    running: int = 0
    _cut: float = 1.0
    _pause: float = 0.0
    _until: float = 0.0

    def room(self, slots: int, now: float) -> int:
        """Tell how many more may begin while all nodes of the model together have so many slots."""
        if self.is_paused(now) or slots <= 0:
            return 0
        full = slots + max(LEAST_AHEAD, slots // AHEAD)
        return max(0, max(1, int(full * self._cut)) - self.running)

    def is_paused(self, now: float) -> bool:
        """Tell whether there was no room a moment ago."""
        return now < self._until

    def refused(self, now: float, chance: float) -> None:
        """Take note that there was no room; `chance` from 0 to 1 keeps gateways apart.

        Several refusals of one moment are one.
        """
        if self.is_paused(now):
            return
        self._cut = max(self._cut / 2, 1 / 1024)
        self._pause = min(max(FIRST_PAUSE, 2 * self._pause), LONGEST_PAUSE)
        self._until = now + self._pause * (0.5 + chance / 2)

    def served(self) -> None:
        """Take note that an item was answered."""
        self._pause = 0.0
        self._cut = min(1.0, self._cut + 1 / 64)


__all__ = ["AHEAD", "FIRST_PAUSE", "LEAST_AHEAD", "LONGEST_PAUSE", "Window"]
