"""What goes wrong on a node is said in Swedish too."""

import ast
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from garage_ai import node
from garage_ai.cli.node_error_words import SWEDISH, in_words
from garage_ai.node import errors, gateway_client
from garage_ai.node.group import errors as group_errors
from garage_ai.node.service import user_manager

NODE = Path(node.__file__).parent
KINDS = {
    name
    for module in (errors, gateway_client, group_errors)
    for name, kind in vars(module).items()
    if isinstance(kind, type)
    and issubclass(kind, errors.NodeError)
    and not issubclass(kind, errors.EngineError)
}
"""Names of the errors that end a command; an engine's are told inside a request."""


def said() -> Iterator[tuple[str, ast.Call]]:
    """Give each place that makes such an error."""
    for path in sorted(NODE.rglob("*.py")):
        for part in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(part, ast.Call) and isinstance(part.func, ast.Name)):
                continue
            if part.func.id in KINDS and part.args:
                yield f"{path.relative_to(NODE)}:{part.lineno}", part


def fields(text: str) -> set[str]:
    """Name the values in a text."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_every_sentence_has_its_swedish() -> None:
    """The same values stand in both, and each is given where the error is made."""
    wrong = []
    for place, call in said():
        template = call.args[0]
        text = str(template.value) if isinstance(template, ast.Constant) else ""
        given = {word.arg for word in call.keywords}
        if text not in SWEDISH or not fields(text) <= given <= fields(text) | {"status", "reason"}:
            wrong.append(place)
    assert wrong == []


def test_each_way_to_have_no_service_has_its_swedish() -> None:
    """The reasons are in a table of their own."""
    assert [text for text in user_manager._ABSENT.values() if text not in SWEDISH] == []


def test_both_languages_tell_the_same() -> None:
    """No value is left out, none made up."""
    assert [text for text in SWEDISH if fields(text) != fields(SWEDISH[text])] == []


@pytest.mark.parametrize(
    ("language", "words"),
    [("sv", "Agenten gjorde det inte: {odd}"), ("en", "The agent did not do it: {odd}")],
)
def test_it_is_said_in_the_owners_language(
    monkeypatch: pytest.MonkeyPatch, language: str, words: str
) -> None:
    """What braces a value holds are left alone."""
    monkeypatch.setattr("garage_ai.cli.node_error_words.language", lambda: language)
    assert in_words(errors.NoAgent("The agent did not do it: {error}", error="{odd}")) == words


def test_why_an_engine_cannot_be_used_is_said_in_swedish(monkeypatch: pytest.MonkeyPatch) -> None:
    """Down to the engine's own reason."""
    monkeypatch.setattr("garage_ai.cli.node_error_words.language", lambda: "sv")
    error = errors.NotPossible(
        "The engine at {url} cannot be used: {problem}",
        url="http://127.0.0.1:1/v1",
        problem="the engine cannot be reached: Connection refused",
    )
    assert in_words(error) == (
        "Motorn på http://127.0.0.1:1/v1 går inte att använda: "
        "motorn går inte att nå: Connection refused"
    )
