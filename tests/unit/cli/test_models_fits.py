"""`gai models --fits`, as an owner types it."""

import re

import msgspec
import pytest
from typer.testing import CliRunner

from garage_ai.catalog import KNOWN
from garage_ai.cli import fits_words
from garage_ai.cli.app import make_app
from garage_ai.cli.models_fits import FitsShown


def asked(*words: str) -> FitsShown:
    done = CliRunner().invoke(make_app(), ["models", "--fits", "--json", *words])
    assert done.exit_code == 0, done.output
    return msgspec.json.decode(done.stdout, type=FitsShown)


def test_plans_for_a_card_that_is_named() -> None:
    """Every known model is told of, once, and marked as an estimate."""
    shown = asked("--card", "RTX 3090")
    assert shown.estimate
    assert [each.model for each in shown.models] == list(KNOWN)
    (place,) = shown.places
    assert (place.name, place.factor, place.room) == ("RTX 3090", 1.0, 23 << 30)
    found = {each.model: each for each in shown.models}
    assert found["Llama-3.1-8B-Instruct"].fits
    assert found["Llama-3.1-8B-Instruct"].speed
    assert found["Qwen3-Next-80B-A3B-Instruct"].reason == "too_large"


def test_two_cards_are_two_options() -> None:
    """Cards are counted, named or by their memory."""
    assert len(asked("--card", "RTX 3090", "--card", "RTX 3090").places) == 2
    (place,) = asked("--vram", "12").places
    assert (place.bandwidth, place.factor, place.room) == (None, None, 11 << 30)


def test_a_wish_is_heard() -> None:
    """One short sequence leaves room for more bits."""
    shown = asked("--card", "RTX 3060", "--context", "2048", "--sequences", "1")
    assert all(each.context <= 2048 for each in shown.models)
    assert all(each.sequences <= 1 for each in shown.models)


def test_people_get_a_table_and_a_warning() -> None:
    """Fits in columns, refusals in sentences, and below that it was computed."""
    done = CliRunner().invoke(make_app(), ["models", "--fits", "--card", "RTX 3060"])
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert "RTX 3060" in lines[0]
    assert any(line.startswith("Qwen2.5-32B-Instruct: does not fit") for line in lines)
    assert "not measured" in done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--fits", "--card", "Voodoo 3"], "Voodoo 3"),
        (["--card", "RTX 3090"], "--fits"),
        (["--vram", "8"], "--fits"),
    ],
)
def test_what_makes_no_sense_is_told(words: list[str], said: str) -> None:
    """A card that is not known, and options that need --fits."""
    done = CliRunner().invoke(make_app(), ["models", *words])
    assert done.exit_code != 0
    assert said in done.output + str(done.exception)


def test_this_pc_has_room_of_its_own() -> None:
    """Without a card named, the PC itself is asked."""
    assert all(place.room >= 0 for place in asked().places)


def test_both_languages_fill_in_the_same() -> None:
    """A translation names what the English message names."""
    places = re.compile(r"{(\w+)")
    for key, (english, swedish) in fits_words._WORDS.items():
        assert swedish, key
        assert sorted(places.findall(english)) == sorted(places.findall(swedish)), key
