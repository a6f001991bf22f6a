"""How long an image may take to come here."""

from garage_ai.node.sandbox.images import PULL_SECONDS

LARGEST = 10 * 10**9
SLOW = 4 * 10**6 / 8


def test_an_engine_for_cards_comes_over_a_slow_line() -> None:
    """vLLM's image has some ten gigabytes and llama.cpp's a few: whichever it is, it has time."""
    assert LARGEST / SLOW < PULL_SECONDS
