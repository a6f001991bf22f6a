"""How many turns somebody gets where requests wait: by what is owned and was used of late. Pure.

    standing = balance / (grant + what was used of late)

Who has just the month's grant and used nothing stands at 1; who lent and saved stands higher; who
uses much stands lower, contributor or not. It is in proportion to the balance, so that cutting an
account up wins no turns. It only orders those who wait: who comes to free nodes is served at once.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from garage_ai.ledger.models import GAI, NanoGai
from garage_ai.storage import MemberId

HALF_LIFE: Final = 6 * 3600.0
"""Seconds after which half of what was used is forgotten: an evening is over by the morning."""

MOST_MEMBERS: Final = 100_000


def standing(balance: NanoGai, recent: NanoGai, grant: NanoGai) -> float:
    """Weigh somebody: zero or more; 1 for an untouched month's grant. `grant` is above zero."""
    return max(0, balance) / (grant + max(0, recent))


@dataclass(slots=True)
class _Used:
    amount: float
    at: float


class RecentUse:
    """What each member used of late, halved every HALF_LIFE seconds; in memory, as seen here.

    Bounded: whoever used something longest ago is forgotten first.
    """

    def __init__(self, half_life: float = HALF_LIFE, most: int = MOST_MEMBERS) -> None:
        self._half_life = half_life
        self._most = most
        self._used: OrderedDict[MemberId, _Used] = OrderedDict()

    def __len__(self) -> int:
        return len(self._used)

    def add(self, member: MemberId, amount: NanoGai, now: float) -> None:
        """Take what somebody was charged, at a moment in seconds of any steady clock."""
        used = self._used.get(member)
        if used is not None:
            used.amount, used.at = self._faded(used, now) + amount, now
            self._used.move_to_end(member)
            return
        self._used[member] = _Used(amount, now)
        if len(self._used) > self._most:
            self._used.popitem(last=False)

    def of(self, member: MemberId, now: float) -> NanoGai:
        """Give what is left of it now."""
        used = self._used.get(member)
        return NanoGai(0 if used is None else round(self._faded(used, now)))

    def _faded(self, used: _Used, now: float) -> float:
        return used.amount * math.exp2(-max(0.0, now - used.at) / self._half_life)


class Standings:
    """Weigh payers by what is known of them in memory. All methods belong to the event loop."""

    def __init__(
        self,
        balance: Callable[[MemberId], NanoGai],
        grant: NanoGai,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask `balance` what a payer has; without a grant, a GAI is the measure."""
        self._balance = balance
        self._grant = NanoGai(grant or GAI)
        self._clock = clock
        self._recent = RecentUse()

    def weight(self, payer: MemberId) -> float:
        """Weigh a payer now."""
        recent = self._recent.of(payer, self._clock())
        return standing(self._balance(payer), recent, self._grant)

    def used(self, payer: MemberId, amount: NanoGai) -> None:
        """Take what a request of a payer cost."""
        self._recent.add(payer, amount, self._clock())


__all__ = ["HALF_LIFE", "MOST_MEMBERS", "RecentUse", "Standings", "standing"]
