"""What a request was let in with, and the words of a limit that said no."""

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from garage_ai.accounts.errors import BudgetExceeded, LimitReached, RateLimited
from garage_ai.accounts.limit_headers import Header, rate_headers
from garage_ai.accounts.limit_models import Demand
from garage_ai.accounts.shares import Share
from garage_ai.accounts.windows import Dimension

USUAL_WAIT: Final = 1.0
"""Seconds after which it is worth trying again where nobody knows when a request ends."""

_ONE: Final = frozenset({Dimension.REQUESTS, Dimension.STREAMS})
_GAI: Final = frozenset({Dimension.DAILY_GAI, Dimension.MONTHLY_GAI})
_RATES: Final = frozenset({Dimension.REQUESTS, Dimension.TOKENS, Dimension.STREAMS})
_WORDS: Final = {
    Dimension.REQUESTS: "requests per minute",
    Dimension.TOKENS: "tokens per minute",
    Dimension.STREAMS: "requests at a time",
    Dimension.DAILY_TOKENS: "tokens per day",
    Dimension.MONTHLY_TOKENS: "tokens per month",
    Dimension.DAILY_GAI: "nGAI per day",
    Dimension.MONTHLY_GAI: "nGAI per month",
}


class Taken(NamedTuple):
    """What a request takes of one limit."""

    dimension: Dimension
    share: Share
    units: int


def taken_of(dimension: Dimension, share: Share, demand: Demand) -> Taken:
    """Tell what a request takes of a limit.

    The worst case of a prompt is counted in bytes. Where that is more than the whole limit the
    request needs all of it.
    """
    if dimension in _ONE:
        return Taken(dimension, share, 1)
    worst = demand.charge or 0 if dimension in _GAI else demand.tokens
    return Taken(dimension, share, max(1, min(worst, share.limit)))


class Ticket:
    """The right of one request to run. `finish` ends it, `leave` before that frees its slot."""

    __slots__ = ("_clock", "_open", "_running", "_taken")

    def __init__(
        self, taken: Sequence[Taken] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._taken = self._open = taken
        self._clock = clock
        self._running = True

    def headers(self) -> list[Header]:
        """Tell what is left of the limits on requests and tokens, as OpenAI does."""
        return _headers(self._taken, self._clock()) if self._taken else []

    def leave(self) -> None:
        """Note that the request runs no more, whatever is still to be counted of it."""
        if self._running:
            self._running = False
            for each in self._taken:
                if each.dimension is Dimension.STREAMS:
                    each.share.settle(each.units, 0)

    def finish(self, tokens: int, charge: int = 0) -> None:
        """Book what the request used, in tokens and in nGAI, and give the rest back; once."""
        self.leave()
        taken, self._open = self._open, ()
        for each in taken:
            if each.dimension in _GAI:
                each.share.settle(each.units, charge)
            elif each.dimension not in _ONE:
                each.share.settle(each.units, tokens)


FREE: Final = Ticket()
"""The ticket of every request without limits."""


def is_hopeless(short: Taken, demand: Demand) -> bool:
    """Tell whether waiting cannot help: nothing is allowed, or less than the client asks for."""
    if short.share.limit == 0:
        return True
    asked = demand.completion or 0
    return short.dimension is Dimension.TOKENS and asked > short.share.limit


def refusal(
    short: Taken, taken: Sequence[Taken], now: float, *, for_good: bool = False
) -> LimitReached:
    """Say which limit was reached, when to come again, and what is left of the others."""
    share = short.share
    wait = None if for_good else share.wait(short.units, now)
    if wait is None and not for_good:
        wait = USUAL_WAIT
    words = f"Limit reached: {share.limit} {_WORDS[short.dimension]}"
    if short.dimension is not Dimension.STREAMS:
        words += f", {share.remaining(now)} left, {short.units} needed"
    kind = RateLimited if short.dimension in _RATES else BudgetExceeded
    return kind(f"{words}.", retry_after=wait, headers=tuple(_headers(taken, now)))


def _headers(taken: Sequence[Taken], now: float) -> list[Header]:
    return [
        header
        for dimension in (Dimension.REQUESTS, Dimension.TOKENS)
        for header in rate_headers(
            dimension.value, (each.share for each in taken if each.dimension is dimension), now
        )
    ]


__all__ = ["FREE", "USUAL_WAIT", "Taken", "Ticket", "is_hopeless", "refusal", "taken_of"]
