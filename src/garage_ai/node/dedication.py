"""Whom a node's engine is for: everybody, or one job alone for a while. Pure.

    everybody ──Dedicate──► one job ──it is over──► everybody

An engine is made for the one or the other and never changes hands: what runs ends, or is handed
back after `DRAIN_SECONDS`; its container is removed; another is made. A job is over when a gateway
says so or has been silent for the time it gave, after `MOST_SECONDS` whatever anybody says, and at
once when the node's owner wants his PC or takes his leave back. Then everybody has the node for
`REST_SECONDS` at least. Times in seconds, by the caller's clock.
"""

from dataclasses import dataclass
from typing import Final, Literal

DRAIN_SECONDS: Final = 10.0
"""For what runs when the engine changes; enough for gateways to let other nodes go on meanwhile."""

MOST_SECONDS: Final = 3600.0
"""Longest that a node is one job's: so long its owner's other guests do without it."""

REST_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Turn:
    """What is to be done with the engine next; `wait` for so long, None until something changes."""

    what: Literal["wait", "start", "release"]
    seconds: float | None = None


@dataclass(slots=True)
class Dedication:
    """Who has the node (`job`, empty for everybody), and whom the engine there is was made for.

    `allowed` tells whether the owner lets it, and the engine can.
    """

    allowed: bool = False
    job: str = ""
    made_for: str = ""
    _until: float = 0.0
    _latest: float = 0.0
    _rests_until: float = float("-inf")
    _patience: float | None = None

    @property
    def changes(self) -> bool:
        """Whether the engine is still another's, and takes nothing from anybody."""
        return self.made_for != self.job

    def open(self, now: float) -> bool:
        """Tell whether a job may have the node now."""
        return self.allowed and not self.job and not self.changes and now >= self._rests_until

    def ask(self, job: str, seconds: float, now: float) -> bool:
        """Give the node to a job, or leave it that for longer; False where it stays as it is."""
        if job == self.job:
            self._until = min(max(self._until, now + seconds), self._latest)
            return True
        if not self.open(now):
            return False
        self.job = job
        self._latest = now + MOST_SECONDS
        self._until = min(now + seconds, self._latest)
        return True

    def end(self, job: str, now: float) -> None:
        """Take the node back from a job; another's is left alone."""
        if self.job and job == self.job:
            self.job = ""
            self._rests_until = now + REST_SECONDS

    def turn(self, now: float, *, runs: bool, may_run: bool, serves: bool, busy: bool) -> Turn:
        """Decide what is next for the engine.

        It `runs` or not; the guard says whether it `may_run`; the node `serves`, or takes no work;
        requests make it `busy`.
        """
        if self.job and not (may_run and serves and self.allowed and now < self._until):
            self.end(self.job, now)
        if not may_run:
            return Turn("release") if runs else Turn("wait")
        if not runs:
            # Whoever takes no work needs no new engine; one that is everybody's is there at once.
            return Turn("start") if serves or not self.changes else Turn("wait")
        if self.changes:
            return self._change(now, busy=busy)
        return Turn("wait", max(0.0, self._until - now) if self.job else None)

    def _change(self, now: float, *, busy: bool) -> Turn:
        self._patience = now + DRAIN_SECONDS if self._patience is None else self._patience
        if busy and now < self._patience:
            return Turn("wait", self._patience - now)
        return Turn("release")

    @property
    def leaves_at(self) -> float | None:
        """When what then still runs is handed back; None while nothing is planned."""
        return self._patience

    def started(self) -> None:
        """Take note that an engine begins, made for who has the node."""
        self.made_for = self.job
        self._patience = None


__all__ = ["DRAIN_SECONDS", "MOST_SECONDS", "REST_SECONDS", "Dedication", "Turn"]
