"""What the process that counts has at hand: some vocabularies, and all models that share them."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from garage_ai.ledger.counting import kept, process
from garage_ai.ledger.counting.counter import Counter
from garage_ai.ledger.counting.layout import TOKENIZER, folder_of
from garage_ai.ledger.counting.orders import Ask, Count
from garage_ai.ledger.counting.process import MAX_LOADED, Desk

ONE = Count(1, (), exact=True)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which models were made ready; nothing ends the tests' own process."""
    found: list[str] = []

    def load(folder: Path) -> Counter:
        found.append(folder.name)
        return kept.load(folder)

    monkeypatch.setattr(process, "load", load)
    monkeypatch.setattr(process, "_alarm", lambda _: None)
    return found


def keep(root: Path, models: int, *, alike: bool) -> None:
    """Keep models, of one vocabulary or each with its own."""
    for number in range(models):
        place = folder_of(root, str(number))
        place.mkdir()
        words = {"hej": 0, "på" if alike else f"på{number}": 1}
        Tokenizer(WordLevel(words)).save(str(place / TOKENIZER))


def ask(model: int) -> Ask:
    """Have a word counted."""
    return Ask(str(model), "completions", b'{"model":"x","prompt":"hej"}', ())


def test_models_that_share_a_vocabulary_stay_at_hand(tmp_path: Path, loads: list[str]) -> None:
    """However many: each that is made ready again takes its time from all others' counts."""
    desk, models = Desk(tmp_path), 2 * MAX_LOADED
    keep(tmp_path, models, alike=True)
    for _ in range(2):
        assert [desk.answer(ask(number)) for number in range(models)] == [ONE] * models
    assert len(loads) == models


def test_of_many_vocabularies_the_one_unused_longest_leaves(
    tmp_path: Path, loads: list[str]
) -> None:
    """They are what takes the memory."""
    desk, models = Desk(tmp_path), MAX_LOADED + 1
    keep(tmp_path, models, alike=False)
    for number in [*range(MAX_LOADED), 0, MAX_LOADED, 0, 1]:
        assert desk.answer(ask(number)) == ONE
    assert loads == [str(number) for number in [*range(models), 1]]
