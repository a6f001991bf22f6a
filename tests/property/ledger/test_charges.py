"""Charges: nothing is lost, nothing is made, and more never costs less."""

import inspect
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from garage_ai.ledger import charges
from garage_ai.ledger.charges import Price, apportion, charge, divide, split
from garage_ai.ledger.models import GAI, NanoGai

AMOUNTS = st.integers(0, 10**18).map(NanoGai)
PRICES = st.builds(Price, AMOUNTS, AMOUNTS)
TOKENS = st.integers(0, 10**7)
PERMILLE = st.integers(0, 1000)


@given(PRICES, TOKENS, TOKENS)
def test_a_charge_is_rounded_up_by_less_than_one(price: Price, prompt: int, answer: int) -> None:
    """It never falls short of the price, and never by as much as one nGAI beyond it."""
    exact = price.prompt * prompt + price.completion * answer
    assert 0 <= charge(price, prompt, answer) * 1000 - exact < 1000


@given(PRICES, TOKENS, TOKENS, TOKENS, TOKENS)
def test_more_tokens_never_cost_less(price: Price, a: int, b: int, c: int, d: int) -> None:
    """What is reserved for the worst case covers whatever comes of it."""
    assert charge(price, a, b) <= charge(price, a + c, b + d)


@given(PRICES, st.lists(st.tuples(TOKENS, TOKENS), max_size=8))
def test_parts_make_the_whole(price: Price, parts: list[tuple[int, int]]) -> None:
    """An answer of several nodes costs what it would of one; no part is below zero."""
    whole = charge(price, sum(each[0] for each in parts), sum(each[1] for each in parts))
    shares = apportion(price, parts)
    assert sum(shares) == whole
    assert len(shares) == len(parts)
    assert all(share >= 0 for share in shares)


@given(PRICES, st.lists(st.tuples(TOKENS, TOKENS), max_size=8), AMOUNTS)
def test_no_more_is_charged_than_was_promised(
    price: Price, parts: list[tuple[int, int]], most: NanoGai
) -> None:
    """The parts cost what they do until the promise is used up, and nothing from there on."""
    whole, cut = apportion(price, parts), apportion(price, parts, most)
    assert list(accumulate(cut)) == [min(each, most) for each in accumulate(whole)]
    assert all(share >= 0 for share in cut)


@given(AMOUNTS, PERMILLE, PERMILLE)
def test_a_split_keeps_every_nano(amount: NanoGai, fee: int, escrow: int) -> None:
    """Node, escrow and fee are the amount, none is below zero, and rounding feeds the fee."""
    shares = split(amount, fee, escrow)
    assert shares.node + shares.escrow + shares.fee == amount
    assert min(shares.node, shares.escrow, shares.fee) >= 0
    assert 0 <= shares.fee * 1000 - amount * fee < 1000


@given(AMOUNTS, AMOUNTS, PERMILLE, PERMILLE)
def test_a_larger_charge_earns_no_less(a: NanoGai, b: NanoGai, fee: int, escrow: int) -> None:
    """What the node has in all grows with the charge, and so does the fee."""
    one, more = split(a, fee, escrow), split(NanoGai(a + b), fee, escrow)
    assert one.node + one.escrow <= more.node + more.escrow
    assert one.node <= more.node


@given(AMOUNTS, PERMILLE)
def test_cutting_an_answer_up_earns_nothing(amount: NanoGai, fee: int) -> None:
    """Two charges of half each earn a node no more than the whole: rounding is the network's."""
    half = NanoGai(amount // 2)
    rest = NanoGai(amount - half)
    whole = split(amount, fee, 0).node
    assert split(half, fee, 0).node + split(rest, fee, 0).node <= whole


def test_nothing_is_reckoned_in_floats() -> None:
    """No division that leaves the whole numbers, and no float, stands in the module."""
    source = inspect.getsource(charges)
    assert "float" not in source
    assert " / " not in source
    assert type(charge(Price(GAI, GAI), 3, 5)) is int


PARTS = st.lists(st.integers(1, 1 << 20), min_size=1, max_size=16)


@given(AMOUNTS, PARTS)
def test_rigs_share_every_nano(earned: NanoGai, parts: list[int]) -> None:
    """The shares are the whole; all but the first are rounded down, by less than one nGAI each."""
    shares, whole = divide(earned, parts), sum(parts)
    assert sum(shares) == earned
    assert all(
        0 <= earned * part - share * whole < whole
        for part, share in zip(parts[1:], shares[1:], strict=True)
    )
    assert 0 <= shares[0] * whole - earned * parts[0] < whole * len(parts)


@given(AMOUNTS, PARTS, st.integers(1, 15), st.integers(1, 1 << 19))
def test_a_rig_that_comes_as_two_earns_no_more(
    earned: NanoGai, parts: list[int], place: int, some: int
) -> None:
    """What the two hold is what the one held, and rounding is against them."""
    parts = [*parts, some + 1]
    place = max(1, place % len(parts))
    cut = min(some, parts[place] - 1)
    if cut < 1:
        return
    as_two = [*parts[:place], cut, parts[place] - cut, *parts[place + 1 :]]
    one, two = divide(earned, parts), divide(earned, as_two)
    assert two[place] + two[place + 1] <= one[place]


@given(AMOUNTS, PARTS, PERMILLE, PERMILLE)
def test_all_that_a_gang_is_paid_goes_somewhere(
    amount: NanoGai, parts: list[int], fee: int, escrow: int
) -> None:
    """Fee, shares and what is held back of each make the charge."""
    whole = split(amount, fee, 0)
    kept = [split(share, 0, escrow) for share in divide(whole.node, parts)]
    assert whole.fee + sum(each.node + each.escrow for each in kept) == amount
    assert all(each.fee == 0 for each in kept)
