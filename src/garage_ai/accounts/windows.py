"""What is left of one limit, for all gateways together. Pure: moments come with the questions.

A pool counts what was used within its period and what gateways hold as leases. Its rule is

    used within the period + everything that is leased <= the limit

and a gateway lets requests in from its lease alone, so that no order of events and no number of
gateways goes over. A period slides in cells: what was used in a cell counts until the whole cell is
older than the period, which never counts less than an exact log of moments would, and at most one
cell's time longer. Calendar periods are one cell, the day or the month in UTC. Streams have no
period: they only count while they run.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

LEASE_SECONDS: Final = 3.0
"""How long a lease holds that its gateway does not renew; one that was killed is waited for."""

MINUTE: Final = 60
_CELL: Final = 1


class Dimension(StrEnum):
    """What is limited."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    STREAMS = "streams"
    DAILY_TOKENS = "daily_tokens"
    MONTHLY_TOKENS = "monthly_tokens"
    DAILY_GAI = "daily_gai"
    MONTHLY_GAI = "monthly_gai"


SLIDING: Final = frozenset({Dimension.REQUESTS, Dimension.TOKENS})
_MONTHLY: Final = frozenset({Dimension.MONTHLY_TOKENS, Dimension.MONTHLY_GAI})


class Lease(msgspec.Struct, array_like=True):
    """What a gateway may let in without asking; none of it says only that the gateway is there.

    `held` belongs to requests that run, `room` is free. `hungry` is a gateway that has to refuse.
    """

    held: int
    room: int
    until: float
    hungry: bool


class Ask(msgspec.Struct, frozen=True):
    """What a gateway tells of its share and wants of it.

    `used` is new since the last time; `held` and `room` are its lease so far. `want` is the room
    that it would like to have, `need` the room without which it has to refuse.
    """

    gateway: str
    limit: int
    used: int
    held: int
    room: int
    want: int
    need: int


class Answer(msgspec.Struct, frozen=True):
    """What the pool gives: the gateway's `room` from now on.

    `left` is what nobody has used or holds, with that room; `elsewhere` is the room of other
    gateways. So many `others` are there, and one may be `hungry`. `later` says when how much comes
    free, in seconds from now, and `full_in` when all of it will be.
    """

    room: int
    left: int
    elsewhere: int
    others: int
    hungry: bool
    later: tuple[tuple[float, int], ...]
    full_in: float


class Pool(msgspec.Struct, array_like=True):
    """The state of one limit of one key or member, as it is kept in SQL."""

    cells: dict[int, int] = msgspec.field(default_factory=dict)
    """Use by the second at which its cell ended or, for calendars, will end."""
    leases: dict[str, Lease] = msgspec.field(default_factory=dict)

    def exchange(self, dimension: Dimension, ask: Ask, now: float) -> Answer:
        """Book what a gateway used and give it room for more."""
        self._forget(dimension, now)
        mine = self.leases.pop(ask.gateway, None)
        if ask.used and dimension is not Dimension.STREAMS:
            end = _cell_end(dimension, now)
            self.cells[end] = self.cells.get(end, 0) + ask.used
        others = list(self.leases.values())
        leased = sum(lease.held + lease.room for lease in others)
        left = ask.limit - sum(self.cells.values()) - leased - ask.held
        # A lease that ended was given to others by then, so it is no longer ours to keep.
        kept = max(ask.room, 0) if mine is not None else 0
        room = _share(kept, ask.want, ask.need, left, len(others))
        until, hungry = now + LEASE_SECONDS, room < ask.need
        self.leases[ask.gateway] = Lease(ask.held, room, until, hungry)
        return Answer(
            room,
            max(left, 0),
            sum(lease.room for lease in others),
            len(others),
            any(lease.hungry for lease in others),
            tuple(self._later(dimension, now)),
            max((_leaves(dimension, end) - now for end in self.cells), default=0.0),
        )

    def leave(self, dimension: Dimension, gateway: str, used: int, now: float) -> None:
        """Book the last use of a gateway that goes, and free its lease."""
        self.exchange(dimension, Ask(gateway, 0, used, 0, 0, 0, 0), now)
        del self.leases[gateway]

    def used(self, dimension: Dimension, now: float) -> int:
        """Tell what was used within the period."""
        self._forget(dimension, now)
        return sum(self.cells.values())

    def _forget(self, dimension: Dimension, now: float) -> None:
        self._heed(dimension, now)
        for end in [end for end in self.cells if _leaves(dimension, end) <= now]:
            del self.cells[end]
        for gateway in [name for name, lease in self.leases.items() if lease.until <= now]:
            del self.leases[gateway]

    def _heed(self, dimension: Dimension, now: float) -> None:
        """Let what lies ahead of the clock begin now: the clock was put back since it was noted."""
        newest = _cell_end(dimension, now)
        for end in [end for end in self.cells if end > newest]:
            self.cells[newest] = self.cells.get(newest, 0) + self.cells.pop(end)
        for lease in self.leases.values():
            lease.until = min(lease.until, now + LEASE_SECONDS)

    def _later(self, dimension: Dimension, now: float) -> Sequence[tuple[float, int]]:
        return [(_leaves(dimension, end) - now, self.cells[end]) for end in sorted(self.cells)]


def _share(kept: int, want: int, need: int, left: int, others: int) -> int:
    """Give a gateway its room: never less than it keeps, never more than is left.

    Beside others it gets no more than its part of what is left, unless it needs that to let the
    next request in.
    """
    left = max(left, 0)
    fair = left // (others + 1)
    return min(left, max(kept, min(want, fair), need))


def _cell_end(dimension: Dimension, now: float) -> int:
    if dimension in SLIDING:
        return int(now // _CELL) * _CELL + _CELL
    at = datetime.fromtimestamp(now, UTC)
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    if dimension in _MONTHLY:
        return int((day.replace(day=1) + timedelta(days=32)).replace(day=1).timestamp())
    return int((day + timedelta(days=1)).timestamp())


def _leaves(dimension: Dimension, end: int) -> float:
    """Tell when the use of a cell counts no longer."""
    return float(end + MINUTE if dimension in SLIDING else end)


__all__ = ["LEASE_SECONDS", "MINUTE", "SLIDING", "Answer", "Ask", "Dimension", "Lease", "Pool"]
