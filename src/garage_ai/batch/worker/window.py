"""How many items of a line are begun: as many as fill its slots, fewer without room. Pure.

Several gateways fill the same nodes and do not know of each other. Each begins with all slots; one
that is refused for want of room halves its window and pauses, a little longer each time, and every
item that ends widens it by a part of one (additive increase, multiplicative decrease: Chiu and
Jain, 1989). Where item after item fails one is tried at a time, after longer and longer pauses,
until there is an answer: what fails for a while is not to cost every item its attempts.
"""

from dataclasses import dataclass
from typing import Final

FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 10.0

FAILURES: Final = 3
"""So many without an answer in between are not their items' own fault."""
FIRST_FAILURE: Final = 2.0
LONGEST_FAILURE: Final = 30.0
"""Pauses while it fails: two to four items are tried in a minute, a few more in the first."""

LEAST_AHEAD: Final = 2
AHEAD: Final = 4
"""One in so many slots has an item that waits for it: a slot that falls free is taken at once."""


def filled(slots: int) -> int:
    """Tell how many items fill so many slots, with those that wait for them."""
    return slots + max(LEAST_AHEAD, slots // AHEAD)


@dataclass(slots=True)
class Window:
    """What is under way of one line; moments and pauses in seconds."""

    running: int = 0
    _cut: float = 1.0
    _failures: int = 0
    _pause: float = 0.0
    _until: float = 0.0

    def room(self, slots: int, now: float) -> int:
        """Tell how many more may begin while all nodes of the line together have so many slots."""
        if self.is_paused(now) or slots <= 0:
            return 0
        full = 1 if self._failures >= FAILURES else filled(slots)
        return max(0, max(1, int(full * self._cut)) - self.running)

    def is_paused(self, now: float) -> bool:
        """Tell whether there was no room a moment ago, or nothing came of it."""
        return now < self._until

    def refused(self, now: float, chance: float) -> None:
        """Take note that there was no room; `chance` from 0 to 1 keeps gateways apart.

        Several refusals of one moment are one.
        """
        self._stop(now, chance, FIRST_PAUSE, LONGEST_PAUSE)

    def failed(self, now: float, chance: float) -> None:
        """Take note that an item's attempt failed; after FAILURES in a row there is a pause."""
        self._failures += 1
        if self._failures >= FAILURES:
            self._stop(now, chance, FIRST_FAILURE, LONGEST_FAILURE)

    def _stop(self, now: float, chance: float, first: float, longest: float) -> None:
        if self.is_paused(now):
            return
        self._cut = max(self._cut / 2, 1 / 1024)
        self._pause = min(max(first, 2 * self._pause), longest)
        self._until = now + self._pause * (0.5 + chance / 2)

    def heard(self) -> None:
        """Take note that an engine refused an item for the item's own sake: it is at work."""
        self._failures = 0

    def served(self) -> None:
        """Take note that an item was answered."""
        self._pause, self._failures = 0.0, 0
        self._cut = min(1.0, self._cut + 1 / 64)


__all__ = [
    "AHEAD",
    "FAILURES",
    "FIRST_FAILURE",
    "FIRST_PAUSE",
    "LEAST_AHEAD",
    "LONGEST_FAILURE",
    "LONGEST_PAUSE",
    "Window",
    "filled",
]
