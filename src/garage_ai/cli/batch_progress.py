"""How far a batch is and how fast it goes: looks at it in, figures out. No clock, no network."""

from collections import deque
from dataclasses import dataclass
from typing import Final

from garage_ai.cli.batch_shapes import Batch

WINDOW_SECONDS: Final = 60.0
"""Speed is that of the last minute, or of a longer time in which enough has ended."""
ENOUGH: Final = 10


@dataclass(frozen=True, slots=True)
class Progress:
    """What is shown of a batch; None for what is not known yet.

    `speed` in tokens of answers a second, `left` in seconds, `charged` in nGAI as text.
    """

    status: str
    total: int
    ended: int
    failed: int
    speed: float | None = None
    left: float | None = None
    charged: str | None = None


@dataclass(frozen=True, slots=True)
class _Look:
    at: float
    ended: int
    tokens: int


class Pace:
    """Measures a batch by looking at it now and then."""

    def __init__(self) -> None:
        self._looks: deque[_Look] = deque()

    def take(self, batch: Batch, now: float) -> Progress:
        """Take a look; `now` in seconds of any clock that never goes back."""
        counts = batch.request_counts
        speed = left = None
        if batch.status == "in_progress":
            self._looks.append(_Look(now, counts.ended, batch.usage.output_tokens))
            self._forget()
            speed, left = self._measured(counts.total)
        return Progress(
            batch.status,
            counts.total,
            counts.ended,
            counts.failed,
            speed,
            left,
            batch.gai.charged,
        )

    def _forget(self) -> None:
        """Drop the looks that the rest is enough without."""
        looks = self._looks
        newest = looks[-1]
        while len(looks) > 2:
            second = looks[1]
            is_recent = newest.at - second.at < WINDOW_SECONDS
            if is_recent or newest.ended - second.ended < ENOUGH:
                return
            looks.popleft()

    def _measured(self, total: int) -> tuple[float | None, float | None]:
        first, last = self._looks[0], self._looks[-1]
        seconds, ended = last.at - first.at, last.ended - first.ended
        if seconds <= 0 or ended <= 0:
            return None, None
        left = (total - last.ended) * seconds / ended
        return (last.tokens - first.tokens) / seconds, left


__all__ = ["ENOUGH", "WINDOW_SECONDS", "Pace", "Progress"]
