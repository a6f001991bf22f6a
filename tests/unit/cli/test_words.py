"""What the command line says, in both languages."""

import string

import pytest

from garage_ai.cli import words


@pytest.mark.parametrize("key", words.keys())
def test_both_languages_name_the_same_things(key: str) -> None:
    """A translation fills in exactly what the English message fills in."""
    english, swedish = words._WORDS[key]
    assert fields(english) == fields(swedish)


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "en"),
        ({"LANG": "sv_SE.UTF-8"}, "sv"),
        ({"LANG": "en_GB.UTF-8"}, "en"),
        ({"LANG": "en_GB.UTF-8", "LC_ALL": "sv_FI"}, "sv"),
        ({"LANG": "sv_SE.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "sv_SE.UTF-8", "LC_ALL": ""}, "sv"),
    ],
)
def test_the_language_follows_the_locale(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    """LC_ALL rules over LANG; what is empty counts as not set."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    words.language.cache_clear()
    try:
        assert words.language() == expected
    finally:
        monkeypatch.undo()
        words.language.cache_clear()


def test_values_are_filled_in() -> None:
    """A message takes what it needs."""
    assert words.in_language("sv", "chat.model", model="garage-chat") == "talar nu med garage-chat"
