"""A plain answer is made of any events, in a time that is theirs alone."""

import tracemalloc
from typing import Any

import pytest

from garage_ai.wire.whole import ODD, Whole


def said(text: str, finish: str | None = None) -> dict[str, Any]:
    """Make an event of a chat."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return {"object": "chat.completion.chunk", "choices": [choice]}


def test_a_text_is_joined_once() -> None:
    """Pieces are not copied with each one that comes: that took seconds of a long answer."""
    whole = Whole(chat=True)
    tracemalloc.start()
    try:
        whole.add(said("x" * 1_000_000))
        whole.add(said("y"))
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(100):
            whole.add(said("y\r\n"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 500_000
    text = "x" * 1_000_000 + "y" + "y\r\n" * 100
    for _ in range(2):
        assert whole.answer()["choices"][0]["message"]["content"] == text
    whole.add(said("z"))
    assert whole.answer()["choices"][0]["message"]["content"] == text + "z"


@pytest.mark.parametrize(("chat", "kind"), [(True, "chat.completion"), (False, "text_completion")])
@pytest.mark.parametrize("told", [{}, {"object": None}, {"object": "list"}, {"object": {"a": 1}}])
def test_an_answer_is_what_was_asked_for(chat: bool, kind: str, told: dict[str, Any]) -> None:
    """What it is follows from the question, whatever the events say of themselves."""
    whole = Whole(chat=chat)
    whole.add(told | {"choices": [{"index": 0, "text": "a", "finish_reason": "stop"}]})
    assert whole.answer()["object"] == kind


@pytest.mark.parametrize("unended", [None, "", "null"])
def test_an_answer_ends_with_a_reason(unended: str | None) -> None:
    """Not with what servers write in its place while the choice goes on."""
    whole = Whole(chat=True)
    whole.add(said("a", unended))
    whole.add(said("b", unended))
    assert not whole.finished
    whole.add(said("c", "stop"))
    assert whole.finished
    assert whole.answer()["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    "calls",
    [
        [{"index": -1, "function": {"arguments": "x"}}],
        [{"index": "0"}, {"index": "0"}],
        ["call"],
        [{"index": None}],
    ],
)
def test_odd_tool_calls_are_refused(calls: list[Any]) -> None:
    """Calls at impossible places raise what a reader of events waits for."""
    event = {"choices": [{"index": 0, "delta": {"tool_calls": calls}}]}
    with pytest.raises(ODD):
        Whole(chat=True).add(event)


def test_a_text_that_turns_into_something_else() -> None:
    """Of a field that changes its kind the last is kept, and texts begin anew."""
    whole = Whole(chat=True)
    for content in ("a", "b", {"c": "d"}, "e", "f"):
        whole.add({"choices": [{"index": 0, "delta": {"content": content}}]})
    assert whole.answer()["choices"][0]["message"]["content"] == "ef"
