"""Limits of keys and members: who may use how much, decided in memory.

A request is admitted from the shares that this gateway has leased, without waiting for anybody. One
that finds too little waits for one exchange with the database, which all such requests share, and
so is refused only where the database has said that there is no more. What is held belongs to
requests that run; at the end what they used is booked and the rest is room again.

Without the database shares end with their leases. From then on requests with limits are refused
(`closed`), or let in and booked when it is back (`open`).
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from garage_ai.accounts.errors import ExpiredKey, LimitsUnavailable
from garage_ai.accounts.limit_book import LimitBook
from garage_ai.accounts.limit_leases import DOWN_SECONDS, Leases
from garage_ai.accounts.limit_models import Demand, Fail, LimitSettings, subject_of
from garage_ai.accounts.limit_pools import PoolId
from garage_ai.accounts.limit_tickets import (
    FREE,
    Taken,
    Ticket,
    is_hopeless,
    refusal,
    taken_of,
)
from garage_ai.accounts.models import Key
from garage_ai.accounts.shares import Share
from garage_ai.accounts.windows import SLIDING, Dimension
from garage_ai.audit.models import Clock, utc_now
from garage_ai.storage import KeyId, MemberId


class _Rules:
    """What holds for a key, its member's limits among it."""

    __slots__ = ("expires_at", "limits", "models", "regions", "shares", "sharing")

    def __init__(self, *owners: tuple[KeyId | MemberId, LimitSettings]) -> None:
        self.limits = [
            (PoolId(subject_of(owner), dimension), limit)
            for owner, settings in owners
            for dimension in Dimension
            if (limit := settings.limit(dimension)) is not None
        ]
        self.models = _both(settings.models for _, settings in owners)
        self.regions = _both(settings.regions for _, settings in owners)
        moments = [each.expires_at for _, each in owners if each.expires_at is not None]
        self.expires_at: datetime | None = min(moments, default=None)
        self.shares: list[tuple[Dimension, Share]] = []
        self.sharing = -1

    def bind(self, leases: Leases) -> None:
        """Find the shares anew: those of before may be forgotten by now."""
        self.shares = [(id_.dimension, leases.share(id_, limit)) for id_, limit in self.limits]
        self.sharing = leases.forgotten


def _holds_for_batches(dimension: Dimension, share: Share) -> bool:
    """Tell whether a limit holds for what has time: budgets do, and a minute of nothing at all.

    What may be asked in a minute, or at a time, is for who waits: a batch would take it all.
    """
    if dimension is Dimension.STREAMS:
        return False
    return dimension not in SLIDING or share.limit == 0


class Limits:
    """Admit requests within the limits of their key and its member: what both allow."""

    def __init__(
        self,
        book: LimitBook,
        leases: Leases,
        *,
        fail: Fail = "closed",
        clock: Clock = utc_now,
    ) -> None:
        self.unchecked = 0
        self._book = book
        self._leases = leases
        self._fail: Fail = fail
        self._clock = clock
        self._rules: dict[KeyId, _Rules] = {}
        book.on_change = self._rules.clear

    def check_expiry(self, key: Key) -> None:
        """Refuse a key whose time is over. Raises: ExpiredKey."""
        expires = self._rules_of(key).expires_at
        if expires is not None and expires <= self._clock():
            raise ExpiredKey("This key has expired.")

    def models(self, key: Key) -> frozenset[str] | None:
        """Name the models that a key may use; None: all."""
        return self._rules_of(key).models

    def regions(self, key: Key) -> frozenset[str] | None:
        """Name the regions that a key's requests may be answered in; None: all."""
        return self._rules_of(key).regions

    async def admit(self, key: Key, demand: Demand) -> Ticket:
        """Let a request in; `finish` has to be called on the ticket, however the request ends.

        Waits for nobody while the shares have room. Raises: RateLimited, BudgetExceeded,
        LimitsUnavailable.
        """
        rules = self._rules_of(key)
        if not rules.limits:
            return FREE
        while True:
            if rules.sharing != self._leases.forgotten:
                rules.bind(self._leases)
            now = self._leases.clock()
            taken = [
                taken_of(dimension, share, demand)
                for dimension, share in rules.shares
                if demand.live or _holds_for_batches(dimension, share)
            ]
            for each in taken:
                if not each[1].has(each[2], now):
                    break
            else:
                return self._ticket(taken, now)
            if await self._find(each, demand, taken):
                return self._ticket(taken, self._leases.clock())

    async def _find(self, short: Taken, demand: Demand, taken: Sequence[Taken]) -> bool:
        """Look for room; True: nobody can say whether there is any, and so it is let in."""
        leases, share = self._leases, short.share
        if is_hopeless(short, demand):
            raise refusal(short, taken, leases.clock(), for_good=True)
        if not await leases.find(share, short.units):
            self._without_database()
            return True
        if not share.has(short.units, leases.clock()):
            raise refusal(short, taken, leases.clock())
        return False

    def _ticket(self, taken: Sequence[Taken], now: float) -> Ticket:
        for dimension, share, units in taken:
            share.take(units, now)
            if dimension is Dimension.REQUESTS:
                share.settle(1, 1)
        return Ticket(taken, self._leases.clock)

    def _without_database(self) -> None:
        if self._fail == "closed":
            raise LimitsUnavailable(
                "The limits of this key cannot be checked now.", retry_after=DOWN_SECONDS
            )
        self.unchecked += 1

    def _rules_of(self, key: Key) -> _Rules:
        rules = self._rules.get(key.id)
        if rules is None:
            book = self._book
            rules = _Rules((key.id, book.of(key.id)), (key.member, book.of(key.member)))
            self._rules[key.id] = rules
        return rules


def _both(sets: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
    allowed = [each for each in sets if each is not None]
    return frozenset.intersection(*allowed) if allowed else None


__all__ = ["Limits"]
