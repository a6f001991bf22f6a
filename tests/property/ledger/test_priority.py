"""Standing: more owned is more, more used is less, and accounts cut up are the same together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garage_ai.ledger.models import GAI, NanoGai
from garage_ai.ledger.priority import HALF_LIFE, RecentUse, Standings, standing
from garage_ai.storage import MemberId

AMOUNT = st.integers(-(10**15), 10**15).map(NanoGai)
GRANT = st.integers(1, 10**13).map(NanoGai)
ANNA, BERT = MemberId("mbr_anna"), MemberId("mbr_bert")


@given(AMOUNT, AMOUNT, AMOUNT, GRANT)
def test_more_owned_is_never_less(a: NanoGai, b: NanoGai, used: NanoGai, grant: NanoGai) -> None:
    """It grows with the balance, and nobody stands below zero."""
    low, high = sorted((a, b))
    assert 0 <= standing(low, used, grant) <= standing(high, used, grant)


@given(AMOUNT, AMOUNT, AMOUNT, GRANT)
def test_more_used_is_never_more(owned: NanoGai, a: NanoGai, b: NanoGai, grant: NanoGai) -> None:
    """Whoever has just used much lets others go."""
    little, much = sorted((a, b))
    assert standing(owned, much, grant) <= standing(owned, little, grant)


@given(st.integers(0, 10**12), st.integers(1, 50), GRANT)
def test_accounts_cut_up_stand_the_same(each: int, accounts: int, grant: NanoGai) -> None:
    """Many small balances weigh together what one large would."""
    nothing = NanoGai(0)
    whole = standing(NanoGai(each * accounts), nothing, grant)
    assert accounts * standing(NanoGai(each), nothing, grant) == pytest.approx(whole)


def test_an_untouched_grant_is_the_measure() -> None:
    """A grant stands at one, eight of them at eight, and half used of one below a half."""
    grant = NanoGai(5 * GAI)
    assert standing(grant, NanoGai(0), grant) == 1
    assert standing(NanoGai(8 * grant), NanoGai(0), grant) == 8
    assert standing(NanoGai(grant // 2), NanoGai(grant // 2), grant) < 0.5


def test_what_was_used_is_forgotten() -> None:
    """Half of it each half-life, for each member alone."""
    use = RecentUse()
    use.add(ANNA, NanoGai(800), 0.0)
    use.add(ANNA, NanoGai(100), HALF_LIFE)
    assert use.of(ANNA, HALF_LIFE) == 500
    assert use.of(ANNA, 3 * HALF_LIFE) == 125
    assert use.of(BERT, 0.0) == 0


def test_a_clock_that_stands_still_makes_nothing() -> None:
    """A moment before the last one counts as that."""
    use = RecentUse()
    use.add(ANNA, NanoGai(800), 100.0)
    assert use.of(ANNA, 0.0) == 800


def test_memory_is_bounded() -> None:
    """Of too many, the one that used something longest ago is forgotten."""
    use = RecentUse(most=2)
    for number, name in enumerate(["a", "b", "a", "c"]):
        use.add(MemberId(name), NanoGai(1), float(number))
    assert len(use) == 2
    assert use.of(MemberId("b"), 4.0) == 0


def test_standings_know_what_is_owned_and_used() -> None:
    """By the balance in memory, on a clock; a network without grants measures in GAI."""
    now = [0.0]
    owned = {ANNA: NanoGai(8 * GAI), BERT: NanoGai(0)}
    standings = Standings(owned.__getitem__, NanoGai(2 * GAI), lambda: now[0])
    assert standings.weight(ANNA) == 4
    assert standings.weight(BERT) == 0
    standings.used(ANNA, NanoGai(2 * GAI))
    assert standings.weight(ANNA) == 2
    now[0] = 100 * HALF_LIFE
    assert standings.weight(ANNA) == 4
    assert Standings(owned.__getitem__, NanoGai(0)).weight(ANNA) == 8
