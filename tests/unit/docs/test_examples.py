"""What the pages tell to type can be typed."""

import ast
import json
import re

import pytest
from tests.parts.documents import Document, documents
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from garage_ai.cli.app import make_app

DOCUMENTS = documents()
GAI = {"gai", ".venv/bin/gai"}
SCRIPTS = {"./start.sh", "./test.sh", "bench/peers.sh"}
OTHERS = {
    ".venv/bin/python",
    "cp",
    "curl",
    "docker",
    "export",
    "loginctl",
    "mkdir",
    "nats-server",
    "openssl",
    "python3",
    "systemctl",
    "tar",
    "umask",
    "uv",
    "vllm",
    "~/hf/bin/hf",
    "~/hf/bin/pip",
    "~/vllm/bin/pip",
}


def gai_words(words: list[str]) -> list[str] | None:
    """Give what `gai` is told, by whichever way a page starts it; None for another program."""
    match words:
        case ["./start.sh", "join", *rest]:
            return ["node", "join", *rest]
        case ["./start.sh", *rest]:
            return ["up", *rest]
        case ["sudo", *rest]:
            return gai_words(rest)
        case [first, *rest] if first in GAI:
            return rest
        case _:
            return None


def check(words: list[str]) -> None:
    """Parse what `gai` is told, with its own parser. Raises what that raises."""
    command = get_command(make_app())
    while isinstance(command, TyperGroup):
        if command.invoke_without_command and (not words or words[0].startswith("-")):
            break  # `gai usage` does something by itself, and has commands below it
        name, *words = words
        assert name in command.commands, f"there is no command {name!r}"
        found = command.commands[name]
        assert isinstance(found, TyperCommand | TyperGroup)
        command = found
    command.make_context("gai", list(words))


def test_there_is_much_to_try() -> None:
    """Else all that follows would be said of nothing."""
    told = [gai_words(words) for document in DOCUMENTS for words in document.commands()]
    assert sum(words is not None for words in told) > 150
    assert sum(code.startswith("gai ") for each in DOCUMENTS for code in each.code()) > 150
    for language in ("python", "json"):
        assert any(each.blocks(language) for each in DOCUMENTS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_commands_exist_and_take_their_options(document: Document) -> None:
    """Every `gai` of an example is one that the command line accepts; others are known programs."""
    for words in document.commands():
        told = gai_words(words)
        if told is not None:
            check(told)
        elif words and not re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            assert words[0] in SCRIPTS | OTHERS, words


@pytest.mark.parametrize(
    "wrong",
    [["nod", "join"], ["node", "join"], ["up", "--pubic", "x"], ["chat", "--json=1"]],
    ids=" ".join,
)
def test_wrong_commands_would_be_noticed(wrong: list[str]) -> None:
    """A command, argument or option that is not there fails the test above."""
    with pytest.raises((Exception, SystemExit)):
        check(wrong)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_commands_in_running_text_exist(document: Document) -> None:
    """A command named in a sentence is one: `gai` and the words that follow it."""
    for text in document.code():
        found = re.fullmatch(r"(?:\.venv/bin/)?gai((?: [a-z]+)+)(?: .*)?", text)
        if found is None:
            continue
        command = get_command(make_app())
        for name in found[1].split():
            if not isinstance(command, TyperGroup):
                break
            assert name in command.commands, text
            command = command.commands[name]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_python_and_json_are_whole(document: Document) -> None:
    """Python compiles, JSON is JSON, also inside a `curl`."""
    for block in document.blocks("python"):
        ast.parse(block.text)
    for block in document.blocks("json"):
        json.loads(block.text)
    for words in document.commands():
        if words[:1] == ["curl"] and "-d" in words:
            json.loads(words[words.index("-d") + 1])
