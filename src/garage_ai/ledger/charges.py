"""What a request costs and who gets how much of it. Pure, in whole nGAI.

A charge is rounded up once per request, what the node gets is rounded down, and the remainder is
the network's fee; where rigs share, the rest is the leader's. Nothing is lost, and no rounding
makes a GAI.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from garage_ai.ledger.models import NanoGai

PER_TOKENS: Final = 1000
"""Prices are of so many tokens."""

MILLE: Final = 1000
"""Shares are in thousandths: a fee of 50 is five per cent."""


@dataclass(frozen=True, slots=True)
class Price:
    """What 1,000 tokens cost, in nGAI: those of the prompt and those of the answer."""

    prompt: NanoGai
    completion: NanoGai


class Shares(msgspec.Struct, frozen=True):
    """A charge in its parts: to the node's member, held back in escrow, to the network."""

    node: NanoGai
    escrow: NanoGai
    fee: NanoGai


def charge(price: Price, prompt_tokens: int, completion_tokens: int) -> NanoGai:
    """Say what a request costs, rounded up to a whole nGAI. Tokens are zero or more."""
    if prompt_tokens < 0 or completion_tokens < 0:
        raise ValueError("tokens are never below zero")
    thousandths = price.prompt * prompt_tokens + price.completion * completion_tokens
    return NanoGai(-(-thousandths // PER_TOKENS))


def apportion(
    price: Price, parts: Sequence[tuple[int, int]], most: NanoGai | None = None
) -> tuple[NanoGai, ...]:
    """Say what each part of an answer costs, as prompt and completion tokens, in their order.

    Together exactly the charge of all their tokens, since that alone is rounded; or `most`, where
    no more was promised: the later parts go short then.
    """
    charges: list[NanoGai] = []
    prompt = completion = 0
    before = NanoGai(0)
    for part_prompt, part_completion in parts:
        prompt, completion = prompt + part_prompt, completion + part_completion
        so_far = charge(price, prompt, completion)
        if most is not None and so_far > most:
            so_far = most
        charges.append(NanoGai(so_far - before))
        before = so_far
    return tuple(charges)


def split(amount: NanoGai, fee_permille: int, escrow_permille: int) -> Shares:
    """Divide a charge; `escrow_permille` is of what the node earns. The three make the amount."""
    if amount < 0 or not 0 <= fee_permille <= MILLE or not 0 <= escrow_permille <= MILLE:
        raise ValueError("an amount is never below zero, and a share lies between 0 and 1000")
    earned = amount * (MILLE - fee_permille) // MILLE
    now = earned * (MILLE - escrow_permille) // MILLE
    return Shares(NanoGai(now), NanoGai(earned - now), NanoGai(amount - earned))


def divide(earned: NanoGai, parts: Sequence[int]) -> tuple[NanoGai, ...]:
    """Divide what several earned together, in the order of their parts, each above zero.

    Each share is rounded down but the first, which is whose answer it was: that is the rest.
    """
    if earned < 0 or not parts or min(parts) < 1:
        raise ValueError("what was earned is never below zero, and each has a part above it")
    whole = sum(parts)
    others = [NanoGai(earned * each // whole) for each in parts[1:]]
    return (NanoGai(earned - sum(others)), *others)


__all__ = ["MILLE", "PER_TOKENS", "Price", "Shares", "apportion", "charge", "divide", "split"]
