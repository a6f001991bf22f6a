"""What to do about a gateway's error."""

import pytest

from garage_ai.cli import advice_words
from garage_ai.gateway.errors import PROBLEMS


@pytest.mark.parametrize("code", advice_words._ADVICE)
def test_it_is_of_an_error_that_there_is(code: str) -> None:
    """Each is for a code of the gateway's, and said in two languages."""
    assert code in PROBLEMS
    english, swedish = advice_words._ADVICE[code]
    assert english != swedish


def test_it_is_in_the_users_language(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a code that is not known nothing is said."""
    monkeypatch.setattr(advice_words, "language", lambda: "sv")
    assert advice_words.advice("invite_used") == advice_words._ADVICE["invite_used"][1]
    assert advice_words.advice("storage_unavailable") is None
