"""Charges, by example."""

import pytest

from garage_ai.ledger.charges import Price, Shares, apportion, charge, split
from garage_ai.ledger.models import NanoGai

PRICE = Price(NanoGai(120_000), NanoGai(830_000))


def test_a_request_costs_its_tokens() -> None:
    """800 tokens asked and 200 answered, by prices of 1,000."""
    assert charge(PRICE, 800, 200) == 96_000 + 166_000


def test_the_least_request_costs_one_nano() -> None:
    """A part of a nGAI is a whole one; nothing at all is free."""
    assert charge(Price(NanoGai(1), NanoGai(1)), 1, 0) == 1
    assert charge(PRICE, 0, 0) == 0


def test_a_new_node_waits_for_half() -> None:
    """Of 101 with a fee of 5 %: 95 earned (down), 6 the fee, 47 now and 48 later."""
    assert split(NanoGai(101), 50, 500) == Shares(NanoGai(47), NanoGai(48), NanoGai(6))


def test_each_node_is_paid_for_its_part() -> None:
    """A stream that moved costs once, and each node has its share of that."""
    assert apportion(PRICE, [(800, 50), (0, 150)]) == (137_500, 124_500)
    assert apportion(PRICE, []) == ()


@pytest.mark.parametrize(("prompt", "answer"), [(-1, 0), (0, -1)])
def test_tokens_below_zero_are_a_mistake(prompt: int, answer: int) -> None:
    """No count goes below zero."""
    with pytest.raises(ValueError, match="below zero"):
        charge(PRICE, prompt, answer)


@pytest.mark.parametrize(("amount", "fee", "escrow"), [(-1, 0, 0), (1, 1001, 0), (1, 0, -1)])
def test_shares_lie_within_the_whole(amount: int, fee: int, escrow: int) -> None:
    """A share above the whole would make money."""
    with pytest.raises(ValueError, match="share"):
        split(NanoGai(amount), fee, escrow)
