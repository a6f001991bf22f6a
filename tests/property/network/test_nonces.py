"""Nonces that need no memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garage_ai.network.enrolment_errors import NonceUnusable
from garage_ai.network.nonces import NONCE_SECONDS, SKEW_SECONDS, Nonces

KEY = b"k" * 32


def at(moment: float, key: bytes = KEY) -> Nonces:
    """Give a gateway whose clock stands still."""
    return Nonces(key, lambda: moment)


@given(st.integers(0, 2**40), st.integers(-1000, 1000))
def test_good_for_two_minutes_at_every_gateway(made: int, later: int) -> None:
    """Fresh is good, old is not; a little ahead is good, as the clocks of two gateways are."""
    nonce = at(made).make()
    checker = at(max(0, made + later))
    if -SKEW_SECONDS <= max(0, made + later) - made <= NONCE_SECONDS:
        checker.check(nonce)
    else:
        with pytest.raises(NonceUnusable):
            checker.check(nonce)


@pytest.mark.parametrize(
    ("ahead", "words"),
    [(0.0, ""), (1.0, ""), (30.0, ""), (31.0, "clocks"), (-120.0, ""), (-121.0, "too old")],
)
def test_gateways_whose_clocks_differ(ahead: float, words: str) -> None:
    """One that is ahead makes nonces that the others take, while both clocks go on."""
    moment = 1_000_000.25
    fast, slow = Nonces(KEY, lambda: moment + ahead), Nonces(KEY, lambda: moment)
    nonce = fast.make()
    if not words:
        slow.check(nonce)
    else:
        with pytest.raises(NonceUnusable, match=words):
            slow.check(nonce)
    moment += SKEW_SECONDS
    if ahead > 0:
        slow.check(nonce)


@given(st.data())
def test_a_changed_character_is_noticed(data: st.DataObject) -> None:
    """No nonce can be made from another."""
    nonce = at(1000).make()
    where = data.draw(st.integers(0, len(nonce) - 1))
    other = data.draw(st.characters(max_codepoint=0x17F).filter(lambda c: c != nonce[where]))
    changed = nonce[:where] + other + nonce[where + 1 :]
    with pytest.raises(NonceUnusable):
        at(1000).check(changed)


def test_only_one_spelling_is_good() -> None:
    """The last character's unused bits cannot be set to make a second nonce of one."""
    nonce = at(1000).make().rstrip("=")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for last in alphabet.replace(nonce[-1], ""):
        with pytest.raises(NonceUnusable):
            at(1000).check(f"{nonce[:-1]}{last}==")


@given(st.text(max_size=100))
def test_other_text_is_no_nonce(text: str) -> None:
    """Whatever comes ends in the one typed error."""
    with pytest.raises(NonceUnusable):
        at(1000).check(text)


def test_another_networks_nonce_is_not_ours() -> None:
    """The key decides; and no two are alike."""
    with pytest.raises(NonceUnusable):
        at(1000).check(at(1000, b"x" * 32).make())
    assert at(1000).make() != at(1000).make()
