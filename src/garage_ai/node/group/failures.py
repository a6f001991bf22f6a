"""What a rig makes of gangs that have failed under its lead: it waits, and plans around them. Pure.

A team that fails time after time is left alone for a while, and its rigs make other gangs, where
there are any: who of them is at fault is a guess, since one rank's end takes the others along.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from garage_ai.node.group.messages import MAX_AVOIDED
from garage_ai.wire.ids import NodeId

IN_A_ROW: Final = 3
"""So many failures of one team, with no good gang of it between, and it is left alone."""

FIRST_REST: Final = 300.0
"""Seconds that it is left alone, doubled with each further failure."""

LONGEST_REST: Final = 1800.0

_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 60.0


class _Failing(NamedTuple):
    """A team that failed: how often in a row, until when it rests, and whom to do without first."""

    times: int
    until: float
    order: tuple[NodeId, ...]


class Failures:
    """The teams that have failed, the latest last."""

    def __init__(self) -> None:
        self._teams: dict[frozenset[NodeId], _Failing] = {}

    def failed(self, team: Sequence[NodeId], suspect: NodeId | None, now: float) -> None:
        """Take note that a team has failed; `suspect` is the rig whose part ended first, if any."""
        before = self._teams.pop(frozenset(team), None)
        times = 1 if before is None else before.times + 1
        rest = 0.0
        if times >= IN_A_ROW:
            rest = min(LONGEST_REST, FIRST_REST * 2.0 ** min(times - IN_A_ROW, 10))
        # Whoever leads is the last to be done without: it has told of no fault.
        others = [node for node in reversed(team) if node != suspect]
        order = (*(node for node in team if node == suspect), *others)
        self._teams[frozenset(team)] = _Failing(times, now + rest, order)
        if len(self._teams) > MAX_AVOIDED:
            del self._teams[next(iter(self._teams))]

    def served(self, team: Sequence[NodeId]) -> None:
        """Take note that a team was at work for long enough."""
        self._teams.pop(frozenset(team), None)

    def resting(self, now: float) -> tuple[tuple[NodeId, ...], ...]:
        """Give the teams that are to be left alone, each with whom to do without first."""
        return tuple(each.order for each in self._teams.values() if each.until > now)


def wait_after(failures: int, chance: float) -> float:
    """Give the seconds before a leader tries again: doubling, bounded, half of it by chance."""
    doublings = min(max(failures, 1) - 1, 10)
    return min(_LONGEST_WAIT, _FIRST_WAIT * 2.0**doublings) * (0.5 + chance / 2)


__all__ = ["FIRST_REST", "IN_A_ROW", "LONGEST_REST", "Failures", "wait_after"]
