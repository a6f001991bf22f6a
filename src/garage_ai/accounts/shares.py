"""A gateway's share of one limit: what it lets in without asking anybody. Pure.

    taken -> held -> settled: what was used is booked, the rest is room again

The share asks its pool for more in the background, in time for its pace, and gives back what it
does not need. What a pool has given counts until shortly before the lease ends there.
"""

import math
from typing import Final

from garage_ai.accounts.windows import LEASE_SECONDS, MINUTE, Answer, Ask

MARGIN: Final = 0.5
"""Seconds by which a share ends before its lease, for clocks that run differently."""
RENEW_SECONDS: Final = 1.0
"""How old a lease gets before it is renewed."""
IDLE_SECONDS: Final = 10.0
"""How long a share that nobody uses is kept."""
AGAIN_SECONDS: Final = 0.1
"""How long a pool's no is taken for an answer; meanwhile refusing costs nobody anything."""

ALONE: Final = 4
AMONG: Final = 16
"""A gateway keeps a 4th of a limit at hand, beside others a 16th, and nothing that it does not
need while another has to refuse."""


class Share:
    """What one gateway has of one limit; `now` is a monotonic clock's."""

    __slots__ = (
        "_sent",
        "answer",
        "answered",
        "held",
        "limit",
        "pace",
        "room",
        "taken",
        "until",
        "used",
        "used_at",
        "wanted",
    )

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.room = self.held = self.used = 0
        self.taken = self.pace = self.wanted = 0
        self.until = self.answered = -math.inf
        self.used_at = -math.inf
        self.answer: Answer | None = None
        self._sent: tuple[int, int] | None = None

    def take(self, units: int, now: float) -> None:
        """Take units that `has` said are there."""
        self.room -= units
        self.held += units
        self.taken += units
        self.used_at = now

    def has(self, units: int, now: float) -> bool:
        """Tell whether so much may be taken without asking."""
        return self.room >= units and now < self.until

    def request(self, units: int, now: float) -> None:
        """Note that a request waits for so much."""
        self.wanted = max(self.wanted, units)
        self.used_at = now

    def settle(self, held: int, used: int) -> None:
        """Give back what was taken, less what was used; more than was taken is a debt."""
        self.held -= held
        self.used += used
        self.room += held - used

    def refused(self, units: int, now: float) -> bool:
        """Tell whether the pool has said a moment ago that nobody has so much.

        Not where it has yet to hear of use: then it is asked, since it alone knows when that ends.
        """
        answer = self.answer
        if answer is None or self.used or now - self.answered >= AGAIN_SECONDS:
            return False
        frees = answer.later[0][0] if answer.later else math.inf
        have = self._left(answer) + answer.elsewhere
        return have < units and now - self.answered < frees

    def wait(self, units: int, now: float) -> float | None:
        """Tell in how many seconds there will be so much, as far as the pool knew; None: unknown.

        What other gateways hold may come back sooner.
        """
        answer = self.answer
        if answer is None or units > self.limit:
            return None
        free, passed = self._left(answer), now - self.answered
        for delay, freed in answer.later:
            free += freed
            if free >= units:
                return max(delay - passed, 0.0)
        return None

    def remaining(self, now: float) -> int:
        """Tell what is left of the limit for all gateways, as far as this one knows."""
        answer = self.answer
        if answer is None:
            return self.limit
        passed = now - self.answered
        freed = sum(units for delay, units in answer.later if delay <= passed)
        return max(0, min(self.limit, self._left(answer) + answer.elsewhere + freed))

    def full_in(self, now: float) -> float:
        """Tell in how many seconds a limit per minute will be whole again."""
        known = self.answer.full_in - (now - self.answered) if self.answer is not None else 0.0
        return max(known, self.used_at + MINUTE - now, 0.0)

    # The exchange with the pool

    def is_due(self, now: float) -> bool:
        """Tell whether the pool should hear of this share."""
        if self._sent is not None:
            return False
        if self.used or self.wanted:
            return True
        if not self.held and not self.room:
            return False
        return now - self.answered >= RENEW_SECONDS or self._is_low() or self._is_awaited()

    def is_idle(self, now: float) -> bool:
        """Tell whether nothing is left to say and the share may be forgotten."""
        if self.room or self.held or self.used or self.wanted or self._sent is not None:
            return False
        return now - self.used_at >= IDLE_SECONDS

    def ask(self, gateway: str, now: float) -> Ask:
        """Say what the pool should know; `heard` or `failed` follows."""
        self.pace = max(self.taken, self.pace // 2)
        want = self._want(now)
        # What is given back is given up here first, so that two never have it.
        self.room = min(self.room, want)
        if now >= self.until:
            self.room = min(self.room, 0)
        need, self.wanted = self.wanted, 0
        ask = Ask(gateway, self.limit, self.used, self.held, self.room, want, need)
        self._sent = (self.used, self.room)
        self.used = self.taken = 0
        return ask

    def heard(self, answer: Answer, asked: float, now: float) -> None:
        """Take the answer to what was asked at `asked`; what was taken meanwhile is taken."""
        if self._sent is None:
            raise AssertionError("an answer to a question that nobody asked")
        _, room = self._sent
        self._sent = None
        self.room += answer.room - room
        self.answer, self.answered = answer, now
        self.until = asked + LEASE_SECONDS - MARGIN

    def failed(self) -> None:
        """Note that the pool did not answer: what was used is told again.

        Where the answer alone was lost it is booked twice, which lets too little in, never too
        much.
        """
        if self._sent is not None:
            self.used += self._sent[0]
            self._sent = None

    def _left(self, answer: Answer) -> int:
        return answer.left - (answer.room - self.room)

    def _is_low(self) -> bool:
        return self.pace > 0 and self.room < self.pace

    def _is_awaited(self) -> bool:
        """Tell whether another gateway has to refuse for want of what is at hand here."""
        return self.room > 0 and self.answer is not None and self.answer.hungry

    def _want(self, now: float) -> int:
        """Tell how much room to have: twice the pace, and some at hand while it is used."""
        if now - self.used_at >= IDLE_SECONDS and not self.wanted:
            return 0
        answer = self.answer
        if answer is not None and answer.hungry:
            hand = 0
        else:
            hand = -(-self.limit // (AMONG if answer is not None and answer.others else ALONE))
        return min(self.limit, max(2 * self.pace, hand, self.wanted))


__all__ = ["AGAIN_SECONDS", "IDLE_SECONDS", "MARGIN", "RENEW_SECONDS", "Share"]
