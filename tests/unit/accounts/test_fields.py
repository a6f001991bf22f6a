"""What may be kept, and what a token says about itself."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from garage_ai.accounts import OPERATOR, EnrolmentToken, InvalidField, NodeId, TokenId, TokenState
from garage_ai.accounts.fields import (
    checked_idempotency_key,
    checked_name,
    checked_public_key,
    checked_region,
    checked_scopes,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_names_lose_their_outer_spaces() -> None:
    """Swedish letters and inner spaces stay."""
    assert checked_name("  Åsas dator 2 ") == "Åsas dator 2"


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x00", "\ud800", "x" * 201, "\u202egnp"])
def test_names_that_would_mislead_are_refused(name: str) -> None:
    """Empty, too long, or with characters that a terminal would obey."""
    with pytest.raises(InvalidField) as caught:
        checked_name(name)
    assert caught.value.field == "name"


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (
            checked_region,
            ["SE-AB", "SE-Z", None],
            ["", "se-ab", "SE-AB\n", "SE-XX", "NO-03"],
        ),
        (checked_public_key, ["U" + "A" * 55], ["", "U" * 55, "N" + "A" * 55, "U" + "a" * 55]),
        (checked_idempotency_key, ["k", None], ["", " ", "x" * 256, "å", "a\n"]),
        (
            checked_scopes,
            [frozenset({"admin"}), frozenset({"inference", "admin"})],
            [frozenset(), frozenset({"root"})],
        ),
    ],
)
def test_fields_have_a_shape(
    check: Callable[[object], object], good: list[object], bad: list[object]
) -> None:
    """What fits comes back unchanged, anything else is refused."""
    assert [check(value) for value in good] == good
    for value in bad:
        with pytest.raises(InvalidField):
            check(value)


OPEN = EnrolmentToken(TokenId("tok_a"), OPERATOR, None, NOON - HOUR, NOON + HOUR)


@pytest.mark.parametrize(
    ("token", "state"),
    [
        (OPEN, "open"),
        (replace(OPEN, expires_at=NOON), "expired"),
        (replace(OPEN, revoked_at=NOON), "revoked"),
        (replace(OPEN, revoked_at=NOON, expires_at=NOON - HOUR), "revoked"),
        (replace(OPEN, revoked_at=NOON, redeemed_at=NOON, redeemed_by=NodeId("n")), "used"),
    ],
)
def test_a_token_says_what_it_is_good_for(token: EnrolmentToken, state: TokenState) -> None:
    """Used comes before revoked, revoked before expired; it ends at its last moment."""
    assert token.state(NOON) == state
