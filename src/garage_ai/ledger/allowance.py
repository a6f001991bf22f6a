"""What a gateway may promise of one lease, without asking anyone. Pure: told what time it is.

A reservation has one end, whoever asks how often:

    held ──► settled    the request cost something, at most what was reserved
         ├─► voided     it cost nothing
         └─► expired    nobody said how it ended, for too long
"""

from dataclasses import dataclass
from typing import Final, Literal

from garage_ai.ledger.books import LeaseId
from garage_ai.ledger.leases import SHARE, Granted, Wish
from garage_ai.ledger.models import GAI, AccountId

ReservationState = Literal["held", "settled", "voided", "expired"]

HALF_LIFE: Final = 5.0
"""Seconds after which what was reserved counts half for what will be asked next."""

AHEAD: Final = 4
"""So many times what was reserved lately is leased ahead: half a minute of steady use."""

MOST_AHEAD: Final = 5 * GAI
"""Most that is leased ahead; bounds what a killed gateway leaves unaccounted."""

PAUSE_SECONDS: Final = 1.0
"""How long no more is asked for after a balance gave less than was wanted."""


@dataclass(slots=True)
class Allowance:
    """One lease as its gateway knows it, in nGAI and in seconds of the loop's clock.

    `granted` is the whole of it; `spent` of that has been settled, committed or not, and `held` is
    promised to requests that run. `unsettled` settlements are not committed yet. Until
    `short_until` there is no use in asking for more than what was `left` of the balance and what
    other gateways had leased `elsewhere`.
    """

    lease: LeaseId
    payer: AccountId
    granted: int = 0
    spent: int = 0
    held: int = 0
    unsettled: int = 0
    valid_until: float = 0.0
    used_at: float = 0.0
    is_leased: bool = False
    lost: bool = False
    short_until: float = 0.0
    left: int = 0
    elsewhere: int = 0
    _recent: float = 0.0

    @property
    def room(self) -> int:
        """What can be promised."""
        return self.granted - self.spent - self.held

    @property
    def spendable(self) -> int:
        """What can be promised with what is left of the balance, as far as is known."""
        return max(self.room, 0) + self.left

    @property
    def is_scarce(self) -> bool:
        """Whether others would find little of the balance beside what lies unused here."""
        return self.room * SHARE > self.left

    @property
    def balance(self) -> int:
        """What the payer has, as far as was known when the lease was last extended."""
        return self.left + self.granted - self.spent

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way that the lease is needed for."""
        return self.held == 0 and self.unsettled == 0

    def hold(self, amount: int, now: float) -> bool:
        """Promise an amount, if the lease is good for it."""
        if self.lost or now >= self.valid_until or amount > self.room:
            return False
        self.held += amount
        return True

    def asked(self, amount: int, now: float) -> None:
        """Note how much is asked for; the past counts less and less."""
        self._recent = self._recent * self._faded(now) + amount
        self.used_at = now

    def release(self, amount: int, spent: int = 0) -> None:
        """End a promise of which so much was spent."""
        self.held -= amount
        self.spent += spent

    def is_low(self, now: float) -> bool:
        """Whether it is time to lease more, before the room is gone; for one who has just asked."""
        room = 2 * self.room
        return room < min(AHEAD * self._recent, MOST_AHEAD) and now >= self.short_until

    def wish(self, waiting: list[int], now: float) -> Wish:
        """Say what the lease should hold, for requests that wait and for those to come."""
        base = self.spent + self.held
        needed = base + sum(waiting)
        least = base + min(waiting) if waiting else 0
        return Wish(least, needed, max(needed, base + self._ahead(now)))

    def spare(self) -> Wish:
        """Keep what is spent or promised, and wish for no more than that.

        The rest is given up here before anybody else can have it.
        """
        self.left = self.spendable
        self.granted = kept = self.spent + self.held
        return Wish(0, kept, kept, gives_back=True)

    def may_come(self, amount: int) -> bool:
        """Whether there would be enough if other gateways gave back what they have leased."""
        return amount <= self.spendable + self.elsewhere

    def is_hopeless(self, amount: int, now: float) -> bool:
        """Whether the balance was found too small for an amount a moment ago."""
        return now < self.short_until and not self.may_come(amount)

    def extended(self, granted: Granted, wish: Wish, valid_until: float, now: float) -> None:
        """Take note of what the lease holds now, and of the rest of the balance."""
        self.is_leased = granted.lease is not None
        self.granted = granted.lease.amount if granted.lease is not None else 0
        self.left = max(granted.available, 0)
        self.elsewhere = granted.elsewhere
        self.valid_until = valid_until
        if self.granted < wish.wanted:
            self.short_until = now + PAUSE_SECONDS

    def _ahead(self, now: float) -> int:
        return min(int(AHEAD * self._recent * self._faded(now)), MOST_AHEAD)

    def _faded(self, now: float) -> float:
        since = now - self.used_at
        return float(0.5 ** (since / HALF_LIFE)) if since > 0 else 1.0


__all__ = ["AHEAD", "MOST_AHEAD", "Allowance", "ReservationState"]
