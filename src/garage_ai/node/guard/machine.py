"""What the guard decides: readings in, decisions out. Pure; times in seconds, on one clock.

    serve ──a signal holds──→ no_new_work ──a stronger one──→ drain ──its time is over,──→ release
      ↑                            │                            │      or nothing runs       │
      └──────── resume: every signal is over, those that linger for `resume_after` ──────────┘

What was reached stays until all is over: a weaker reason than the first changes the words, not the
state. So each way back to serving costs at least the time that a signal lingers. A signal that
holds and is no longer known goes on with its last word, for `BLIND_SECONDS` at most.
"""

from dataclasses import dataclass
from typing import Literal

from garage_ai.node.guard.signals import (
    BLIND_SECONDS,
    LEVELS,
    ORDER,
    RULES,
    STALE_SECONDS,
    Level,
    Reading,
    Rule,
    SignalName,
)
from garage_ai.node.guard.words import NOTHING, SIGNALS, Sentence, sentence

Action = Literal["serve", "no_new_work", "drain", "release", "resume"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What the node is to do now, and why; `signal` is the one that speaks loudest."""

    action: Action
    reason: Sentence = NOTHING
    signal: SignalName | None = None


@dataclass(slots=True)
class _Track:
    """One signal over time."""

    rule: Rule
    reading: Reading
    known_at: float
    """When it was last known, or first asked."""
    busy_since: float | None = None
    over_since: float | None = None
    holds: bool = False

    def take(self, reading: Reading) -> None:
        self.reading = reading
        unknown = reading.verdict == "unknown"
        if not unknown:
            self.known_at = reading.at
        self._mark(reading.at, busy=self._may_be_busy(reading.at) if unknown else self.says_busy)

    def look(self, now: float, resume_after: float) -> None:
        """Begin to hold, or stop."""
        if self.is_stale(now):
            self._mark(now, busy=self._may_be_busy(now))
        if self.busy_since is not None:
            self.holds = self.holds or now - self.busy_since >= self.rule.confirm
        elif self.holds and self.over_since is not None:
            linger = resume_after if self.rule.lingers else 0.0
            self.holds = now - self.over_since < linger

    def let_go(self, now: float) -> None:
        """Hold no longer for what is not known, unless a limit was set for it."""
        unknown = self.reading.verdict == "unknown" or self.is_stale(now)
        if unknown and not self.rule.fails_closed:
            self.holds, self.busy_since = False, None

    def is_stale(self, now: float) -> bool:
        return now - self.reading.at > STALE_SECONDS

    @property
    def says_busy(self) -> bool:
        return self.reading.verdict == "busy"

    @property
    def level(self) -> Level:
        return "release" if self.reading.urgent else self.rule.level

    def _may_be_busy(self, now: float) -> bool:
        """Tell how not to know is taken: it neither begins what fails open nor ends its hold."""
        if self.rule.fails_closed:
            return True
        was_busy = self.holds and self.busy_since is not None
        return was_busy and now - self.known_at < BLIND_SECONDS

    def _mark(self, at: float, *, busy: bool) -> None:
        if busy:
            self.busy_since = at if self.busy_since is None else self.busy_since
            self.over_since = None
        else:
            self.over_since = at if self.over_since is None else self.over_since
            self.busy_since = None


class Machine:
    """The guard's mind."""

    def __init__(self, rules: dict[SignalName, Rule] = RULES) -> None:
        self.drain = 20.0
        self.resume_after = 20.0
        self._rules = rules
        self._tracks: dict[SignalName, _Track] = {}
        self._standing: Action = "serve"
        self._drain_since = 0.0

    def take(self, reading: Reading) -> None:
        """Take what a signal says."""
        track = self._tracks.get(reading.signal)
        if track is None:
            rule = self._rules[reading.signal]
            track = self._tracks[reading.signal] = _Track(rule, reading, reading.at)
        track.take(reading)

    def forget(self, signal: SignalName) -> None:
        """Forget a signal that the owner no longer wants watched."""
        self._tracks.pop(signal, None)

    def trust(self, now: float) -> None:
        """Take the owner's word that what held and can no longer be read is over."""
        for track in self._tracks.values():
            track.let_go(now)

    def believe(self) -> None:
        """Take what is busy at its word, without its time of proof: nothing is served yet.

        To be called after the first look; a model's loading would cost the owner his game.
        """
        for track in self._tracks.values():
            track.holds = track.holds or track.says_busy

    def decide(self, now: float, *, working: bool) -> Decision:
        """Say what to do at this moment; `working` is whether a request is under way."""
        for track in self._tracks.values():
            track.look(now, self.resume_after)
        known = (self._tracks[signal] for signal in ORDER if signal in self._tracks)
        holding = [track for track in known if track.holds]
        if not holding:
            return self._free()
        loudest = max(holding, key=lambda track: LEVELS.index(track.level))
        level = self._level(loudest.level, now, working=working)
        self._standing = level
        return Decision(level, self._why(loudest, now), loudest.reading.signal)

    def _free(self) -> Decision:
        was, self._standing = self._standing, "serve"
        return Decision("serve" if was == "serve" else "resume")

    def _level(self, asked: Level, now: float, *, working: bool) -> Level:
        """Give the level: never lower than what was reached, and a drain that is over releases."""
        before: Level | None = next((each for each in LEVELS if each == self._standing), None)
        reached = LEVELS.index(before) if before is not None else -1
        level = LEVELS[max(reached, LEVELS.index(asked))]
        if level == "drain":
            if before != "drain":
                self._drain_since = now
            if not working or now - self._drain_since >= self.drain:
                level = "release"
        return level

    def _why(self, track: _Track, now: float) -> Sentence:
        reading = track.reading
        blind = "blind" if track.rule.fails_closed else "unsure"
        if track.is_stale(now):
            why = sentence("stale", seconds=STALE_SECONDS)
            return sentence(blind, signal=SIGNALS[reading.signal], why=why)
        if track.busy_since is None:
            return sentence("over", seconds=self.resume_after, why=SIGNALS[reading.signal])
        if reading.verdict == "unknown":
            return sentence(blind, signal=SIGNALS[reading.signal], why=reading.why)
        return reading.why


__all__ = ["Action", "Decision", "Machine"]
