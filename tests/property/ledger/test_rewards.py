"""Grants, stipends and escrow: bounded, monotone, and never more than is there."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from garage_ai.ledger.models import GAI, NanoGai
from garage_ai.ledger.rewards import (
    CLASSES,
    Rules,
    Served,
    Stipends,
    Warm,
    Work,
    class_factor,
    grant,
    is_proved,
    stipends,
)
from garage_ai.wire.ids import NodeId

RULES = Rules()
DAYS = st.dates(date(2026, 1, 1), date(2029, 12, 31))
BALANCES = st.integers(-(10 * GAI), 100 * GAI).map(NanoGai)
WARM = st.lists(
    st.builds(
        Warm,
        st.integers(0, 50).map(lambda n: NodeId(f"n{n}")),
        st.integers(0, 60),
        st.sampled_from([0, *CLASSES]),
        st.sampled_from([0, 500]),
    ),
    unique_by=lambda warm: warm.node,
    max_size=30,
)


@given(BALANCES, DAYS, DAYS)
def test_a_grant_fills_up_and_never_adds(balance: NanoGai, joined: date, today: date) -> None:
    """With it nobody has more than the grant who had less, and who has it gets nothing."""
    given_now = grant(RULES, balance, joined, today)
    assert given_now >= 0
    assert balance + given_now <= max(balance, RULES.grant)
    if balance >= RULES.grant:
        assert given_now == 0


@given(st.lists(st.integers(0, 5 * GAI), min_size=1, max_size=36), DAYS)
def test_grants_cannot_pile_up(spent: list[int], joined: date) -> None:
    """However little somebody uses, month after month: there is never more than one grant."""
    balance, year, month = NanoGai(0), joined.year, joined.month
    for use in spent:
        balance = NanoGai(balance + grant(RULES, balance, joined, date(year, month, 28)))
        assert balance <= RULES.grant
        balance = NanoGai(balance - min(balance, use))
        year, month = (year + month // 12, month % 12 + 1)


@given(DAYS)
def test_joining_late_gives_the_rest_of_the_month(joined: date) -> None:
    """The first day gives all, and no later day more than an earlier one."""
    amount = grant(RULES, NanoGai(0), joined, joined)
    first = grant(RULES, NanoGai(0), joined.replace(day=1), joined.replace(day=1))
    assert 0 < amount <= first == RULES.grant
    if joined.day > 1:
        before = joined - timedelta(days=1)
        assert amount < grant(RULES, NanoGai(0), before, before)


@given(WARM, st.integers(0, 100 * GAI).map(NanoGai), st.integers(0, GAI).map(NanoGai))
def test_stipends_are_paid_of_what_is_there(warm: list[Warm], pool: NanoGai, most: NanoGai) -> None:
    """Pool and mint cover all shares, the mint keeps its bound, and nothing is left over of it."""
    made: Stipends = stipends(Rules(mint_per_hour=most), warm, pool)
    paid = sum(each.node + each.escrow + each.fee for each in made.shares.values())
    assert 0 <= made.mint <= most
    assert paid <= pool + made.mint
    if made.mint:
        assert paid == pool + made.mint
    assert all(each.fee == 0 for each in made.shares.values())


@given(WARM)
def test_an_hour_of_waiting_is_worth_little(warm: list[Warm]) -> None:
    """No node gets more than the stipend of its class: five thousandths of what work would earn."""
    made = stipends(RULES, warm, NanoGai(0))
    for each in warm:
        share = made.shares.get(each.node)
        if share is not None:
            assert share.node + share.escrow <= GAI * 5 * each.factor / 1_000_000
            assert share.node <= share.escrow + 1 if each.escrow else share.escrow == 0


@given(st.lists(st.builds(Served, st.integers(1, 99), st.floats(0, 1e4), st.floats(0.1, 1e3))))
def test_a_class_is_a_published_one_that_was_reached(served: list[Served]) -> None:
    """Nobody is put above what was seen, nor above the fastest card there is."""
    factor = class_factor(RULES, served)
    assert factor == 0 or factor in CLASSES
    if factor:
        mean = sum(each.speed / each.expected for each in served) / len(served)
        assert factor <= 1000 * mean


def test_one_friend_is_no_proof() -> None:
    """A class needs several others; so does the release of what was held back."""
    fast = Served(100, 300.0, 100.0)
    assert class_factor(RULES, [fast]) == 0
    assert class_factor(RULES, [fast, fast]) == CLASSES[-1]
    week, lot = timedelta(days=7), NanoGai(5 * GAI)
    assert is_proved(RULES, Work(week, lot, 3))
    assert not is_proved(RULES, Work(week - timedelta(seconds=1), lot, 3))
    assert not is_proved(RULES, Work(week, NanoGai(lot - 1), 3))
    assert not is_proved(RULES, Work(week, lot, 2))
