"""What the pages on the economy reckon is what the gateway reckons."""

import doctest

import pytest
from tests.parts.tree import ROOT


@pytest.mark.parametrize("page", ["economy.md", "ekonomi.md"])
def test_examples_are_computed(page: str) -> None:
    """Each worked example gives what the page says, by the functions that bill."""
    failed, tried = doctest.testfile(str(ROOT / "docs" / page), module_relative=False)
    assert tried > 5
    assert failed == 0


def test_the_page_is_two_pages_long() -> None:
    """A reader has it in ten minutes."""
    words = (ROOT / "docs/economy.md").read_text().split()
    assert len(words) < 1800
