"""Amounts as people read them."""

import pytest

from garage_ai.ledger import in_gai


@pytest.mark.parametrize(
    ("nano", "text"),
    [(0, "0.000000000"), (1, "0.000000001"), (-1, "-0.000000001"), (15 * 10**8, "1.500000000")],
)
def test_an_amount_keeps_all_its_places(nano: int, text: str) -> None:
    """Nine of them, nothing rounded."""
    assert in_gai(nano) == text
