"""What a running LiteLLM does not know: models, and prices of those that it has."""

from dataclasses import replace
from typing import Final

from garage_ai.cli.litellm_files import Changes, changes
from garage_ai.integrations.litellm import Prices, Served

DEAR, CHEAP = Prices(500_000, 3_000_000), Prices(120_000, 830_000)
SMALL: Final = Served("small", "chat", 4096, CHEAP)
ALIAS: Final = Served("garage-chat", "chat", 4096, CHEAP)
KNOWN: Final = {each.name: each for each in (SMALL, ALIAS)}


def test_what_is_known_is_no_change() -> None:
    """Nor is a model that went away, one of which others take longer prompts, or the alias."""
    assert not changes(KNOWN, [SMALL, ALIAS])
    assert not changes(KNOWN, [SMALL, replace(ALIAS, prices=DEAR)])
    assert not changes(KNOWN, [replace(SMALL, context=8192)])


def test_another_model_and_another_price_are_changes() -> None:
    """A price that was set, or taken away."""
    new = Served("large", prices=DEAR)
    found = changes(KNOWN, [replace(SMALL, prices=DEAR), ALIAS, new])
    assert found == Changes(frozenset({"large"}), frozenset({("small", DEAR)}))
    assert changes(KNOWN, [replace(SMALL, prices=None)]).repriced == {("small", None)}


def test_a_change_is_told_once_and_the_next_one_again() -> None:
    """A price that changes twice is told twice."""
    first = changes(KNOWN, [replace(SMALL, prices=DEAR)])
    second = changes(KNOWN, [replace(SMALL, prices=Prices(1, 2))])
    assert not first.without(first)
    assert second.without(first) == second
