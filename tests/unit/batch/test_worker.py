"""How long an item is waited for."""

from garage_ai.batch.worker.worker import RECORD_SECONDS
from garage_ai.ledger.counting.clerk import COUNT_SECONDS, MAX_BYTES
from garage_ai.ledger.counting.pieces import PIECE


def test_a_count_is_waited_for_as_long_as_it_may_take() -> None:
    """An item that ends without one is free and pays no node; large ones are counted in turn."""
    pieces = 2 * MAX_BYTES / PIECE  # two that follow each other have more than one's bytes
    assert pieces * COUNT_SECONDS < RECORD_SECONDS
