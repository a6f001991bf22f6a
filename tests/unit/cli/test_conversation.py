"""A conversation without terminal or network."""

import pytest

from garage_ai.cli.conversation import Answer, Conversation, Reader, Typed, what_was_meant
from garage_ai.cli.shapes import Choice, Chunk, Delta, Message, TokenCount


def taken(*lines: str) -> list[Typed]:
    reader = Reader()
    return [reader.take(line) for line in lines]


def test_a_line_is_a_text() -> None:
    """One line is one question."""
    assert taken(" Hello there ") == [Typed("text", "Hello there")]


def test_an_empty_line_is_nothing() -> None:
    """Enter alone asks nothing."""
    assert taken("   ") == [Typed("nothing")]


def test_a_backslash_goes_on() -> None:
    """Lines ending in a backslash belong together."""
    assert taken("one\\", "two") == [Typed("more"), Typed("text", "one\ntwo")]


def test_a_block_keeps_its_lines() -> None:
    """Between triple quotes everything is text, commands included."""
    assert taken('"""', "/quit", "", 'end"""')[-1] == Typed("text", "/quit\n\nend")


def test_a_block_on_one_line() -> None:
    """A block may begin and end on the same line."""
    assert taken('"""/reset"""') == [Typed("text", "/reset")]


def test_a_command_has_an_argument() -> None:
    """A slash begins a command."""
    assert taken("/model  smollm2 ") == [Typed("command", "/model", "smollm2")]


def test_what_was_begun_can_be_dropped() -> None:
    """Ctrl-C in the middle of a block leaves nothing behind."""
    reader = Reader()
    reader.take('"""half')
    reader.forget()
    assert reader.take("whole") == Typed("text", "whole")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (None, None, ("garage-chat", None)),
        ("qwen3-8b", "Hi", ("qwen3-8b", "Hi")),
        ("Hi there", None, ("garage-chat", "Hi there")),
        ("Hello!", None, ("garage-chat", "Hello!")),
        ("served", None, ("served", None)),
        ("qwen3-8b", None, ("qwen3-8b", None)),
        ("org/model", None, ("org/model", None)),
    ],
)
def test_model_and_text_are_told_apart(
    first: str | None, second: str | None, expected: tuple[str, str | None]
) -> None:
    """One word alone is a model where it is served or looks like an id."""
    assert what_was_meant(first, second, ["served"]) == expected


def test_history_goes_along() -> None:
    """A question carries what was said before, under the system's word."""
    talk = Conversation("m", system="Be brief.")
    talk.answered("Hi", "Hello")
    assert talk.asking("And?") == [
        Message("system", "Be brief."),
        Message("user", "Hi"),
        Message("assistant", "Hello"),
        Message("user", "And?"),
    ]
    talk.reset()
    assert talk.asking("New") == [Message("system", "Be brief."), Message("user", "New")]


def test_speed_counts_from_the_first_token() -> None:
    """Prefill is not part of tokens/s; the count is the engine's."""
    answer = Answer()
    assert answer.take(piece("a"), 0.5) == "a"
    assert answer.take(piece("b"), 1.5) == "b"
    answer.take(Chunk(usage=TokenCount(7, 11)), 1.6)
    assert answer.text == "ab"
    assert answer.first == 0.5
    assert answer.tokens == 11
    assert answer.speed == pytest.approx(10.0)


def test_without_a_count_the_pieces_are_counted() -> None:
    """An engine that says nothing about usage still gets a figure."""
    answer = Answer()
    for number in range(5):
        answer.take(piece("x"), 1.0 + number)
    assert answer.tokens == 5
    assert answer.speed == pytest.approx(1.0)


def test_one_piece_has_no_speed() -> None:
    """Nothing is divided by nothing."""
    answer = Answer()
    answer.take(piece("x"), 1.0)
    assert answer.speed is None


def piece(text: str) -> Chunk:
    return Chunk(choices=(Choice(Delta(text)),))
