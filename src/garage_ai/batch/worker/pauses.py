"""Who is not asked for a while: a key at its limit, a batch that nobody can serve just now. Pure.

Without a time that is known each pause is twice as long as the one before, until there is an
answer. So a member that cannot be served costs the others nothing.
"""

from dataclasses import dataclass
from typing import Final

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 20.0
LONGEST_WAIT: Final = 60.0
"""A limit may be lifted before the time that was told."""


@dataclass(slots=True)
class _Pause:
    seconds: float
    until: float


class Pauses:
    """Pauses by the ids of keys and batches; moments and pauses in seconds."""

    def __init__(self) -> None:
        self._pauses: dict[str, _Pause] = {}

    def refused(self, who: str, now: float, chance: float, seconds: float | None = None) -> None:
        """Take note that nothing came of it; `chance` from 0 to 1 keeps gateways apart.

        `seconds` is after how long it is known to help. Several refusals of one moment are one.
        """
        last = self._pauses.get(who)
        if last is not None and now < last.until:
            return
        if seconds is None:
            seconds = min(0.0 if last is None else 2 * last.seconds, LONGEST_PAUSE)
        pause = min(max(FIRST_PAUSE, seconds), LONGEST_WAIT)
        self._pauses[who] = _Pause(pause, now + pause * (1 + chance / 2))

    def is_paused(self, who: str, now: float) -> bool:
        """Tell whether nothing is to be asked for it yet."""
        pause = self._pauses.get(who)
        return pause is not None and now < pause.until

    def paused(self, now: float) -> list[str]:
        """Name those that pause; forgets those that were not refused for long."""
        kept = {who: each for who, each in self._pauses.items() if now < each.until + LONGEST_WAIT}
        self._pauses = kept
        return [who for who, each in kept.items() if now < each.until]

    def served(self, who: str) -> None:
        """Take note of an answer: the next pause is short again."""
        pause = self._pauses.get(who)
        if pause is not None:
            pause.seconds = 0.0


__all__ = ["FIRST_PAUSE", "LONGEST_PAUSE", "LONGEST_WAIT", "Pauses"]
