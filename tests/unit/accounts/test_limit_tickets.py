"""Headers and words of limits."""

import pytest

from garage_ai.accounts import BudgetExceeded, Demand, Dimension, RateLimited
from garage_ai.accounts.limit_headers import duration
from garage_ai.accounts.limit_tickets import FREE, Taken, is_hopeless, refusal, taken_of
from garage_ai.accounts.shares import Share


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0121, "13ms"),
        (0.9999, "999ms"),
        (1, "1s"),
        (1.2, "2s"),
        (59.5, "1m0s"),
        (360, "6m0s"),
        (3661, "1h1m1s"),
    ],
)
def test_times_are_written_as_openai_does(seconds: float, text: str) -> None:
    """Rounded up, so that nobody comes too early."""
    assert duration(seconds) == text


def test_a_free_ticket_is_nothing() -> None:
    """It may be ended any number of times."""
    FREE.finish(10, 10)
    FREE.leave()
    assert FREE.headers() == []


@pytest.mark.parametrize(
    ("dimension", "units"),
    [
        (Dimension.REQUESTS, 1),
        (Dimension.STREAMS, 1),
        (Dimension.TOKENS, 50),
        (Dimension.MONTHLY_TOKENS, 50),
        (Dimension.DAILY_GAI, 7),
    ],
)
def test_what_a_request_takes(dimension: Dimension, units: int) -> None:
    """Its worst case, or the whole limit where that is less."""
    demand = Demand(80, None, 7)
    assert taken_of(dimension, Share(50), demand).units == units
    assert taken_of(Dimension.DAILY_GAI, Share(50), Demand(80)).units == 1


@pytest.mark.parametrize("dimension", list(Dimension))
def test_every_limit_says_which_it_is(dimension: Dimension) -> None:
    """In the message, with the error's own code."""
    taken = Taken(dimension, Share(5), 1)
    error = refusal(taken, [taken], 0.0)
    is_rate = dimension in {Dimension.REQUESTS, Dimension.TOKENS, Dimension.STREAMS}
    assert isinstance(error, RateLimited if is_rate else BudgetExceeded)
    assert str(error).startswith("Limit reached: 5 ")
    assert error.retry_after == 1.0


def test_what_waiting_cannot_help() -> None:
    """Zero is nothing at all, and an answer larger than a minute's tokens never fits."""
    assert is_hopeless(Taken(Dimension.STREAMS, Share(0), 1), Demand(1))
    tokens = Taken(Dimension.TOKENS, Share(50), 50)
    assert is_hopeless(tokens, Demand(80, 51))
    assert not is_hopeless(tokens, Demand(80, 50))
    assert refusal(tokens, [tokens], 0.0, for_good=True).retry_after is None
