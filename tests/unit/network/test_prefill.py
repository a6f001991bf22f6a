"""The request that goes on with an answer."""

from typing import Any

import msgspec
import pytest

from garage_ai.network.prefill import Prefill, Unsound
from garage_ai.wire.frames import Route

USER = {"role": "user", "content": "count"}


def chat(**fields: Any) -> bytes:
    """Write a chat request as the gateway sends it."""
    return msgspec.json.encode({"model": "m", "messages": [USER], "stream": True} | fields)


def written(body: bytes, *, route: Route = "chat", text: str = "1, 2", said: int = 3) -> Any:
    """Read the request that goes on."""
    prefill = Prefill(route, body)
    prefill.check()
    return msgspec.json.decode(prefill.body(text, said))


def test_the_text_so_far_becomes_a_turn_to_be_continued() -> None:
    """All else goes on as the client asked for it, seed and temperature among it."""
    asked = {"seed": 7, "temperature": 0.0, "stop": ["X"], "tools": [], "tool_choice": "auto"}
    assert written(chat(**asked)) == {
        "model": "m",
        "messages": [USER, {"role": "assistant", "content": "1, 2"}],
        "stream": True,
        **asked,
        "continue_final_message": True,
        "add_generation_prompt": False,
    }


@pytest.mark.parametrize(
    ("content", "joined"),
    [
        ("so: ", "so: 1, 2"),
        ([{"type": "text", "text": "so"}], [{"type": "text", "text": "so"}, "added"]),
    ],
)
def test_the_clients_own_prefill_is_joined(content: Any, joined: Any) -> None:
    """Two turns of the assistant in a row would be something else."""
    turn = {"role": "assistant", "content": content, "name": "a"}
    [user, last] = written(chat(messages=[USER, turn]))["messages"]
    added = {"type": "text", "text": "1, 2"}
    expected = [added if part == "added" else part for part in joined]
    assert user == USER
    assert last == turn | {"content": joined if isinstance(joined, str) else expected}


@pytest.mark.parametrize(("most", "left"), [(10, 7), (3, 0), (2, 0)])
def test_what_was_said_is_taken_off_the_limit(most: int, left: int) -> None:
    """The client gets as many tokens as it asked for, wherever they are made."""
    prefill = Prefill("chat", chat(max_tokens=most))
    assert prefill.left(3) == left
    assert msgspec.json.decode(prefill.body("x", 3))["max_tokens"] == left


def test_no_limit_stays_none() -> None:
    """Nothing is invented."""
    assert Prefill("chat", chat()).left(5) is None
    assert "max_tokens" not in written(chat())


def test_a_completion_goes_on_after_prompt_and_text() -> None:
    """A prompt is simply longer then."""
    body = msgspec.json.encode({"model": "m", "prompt": "count: ", "max_tokens": 9})
    assert written(body, route="completions") == {
        "model": "m",
        "prompt": "count: 1, 2",
        "max_tokens": 6,
    }


@pytest.mark.parametrize(
    ("route", "fields"),
    [
        ("chat", {"n": 2}),
        ("chat", {"logprobs": True}),
        ("chat", {"response_format": {"type": "json_object"}}),
        ("chat", {"response_format": {"type": "json_schema", "json_schema": {"name": "s"}}}),
        ("chat", {"tool_choice": "required"}),
        ("chat", {"tool_choice": {"type": "function", "function": {"name": "f"}}}),
        ("chat", {"function_call": {"name": "f"}}),
        ("completions", {"prompt": ["a", "b"]}),
        ("completions", {"prompt": [1, 2]}),
        ("completions", {"best_of": 2}),
        ("completions", {"logprobs": 0}),
        ("completions", {"echo": True}),
        ("completions", {"suffix": "end"}),
    ],
)
def test_what_text_alone_cannot_carry(route: Route, fields: dict[str, Any]) -> None:
    """It says why."""
    Prefill(route, chat(prompt="p")).check()
    with pytest.raises(Unsound, match=r"asked for"):
        Prefill(route, chat(**{"prompt": "p"} | fields)).check()


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1, "logprobs": False, "response_format": {"type": "text"}},
        {"tool_choice": "none", "tools": [{"type": "function", "function": {"name": "f"}}]},
        {"n": None, "logprobs": None, "stop": None, "max_tokens": None, "tool_choice": None},
    ],
)
def test_what_it_can(fields: dict[str, Any]) -> None:
    """Fields that change nothing keep nothing from going on."""
    assert written(chat(**fields))["messages"][-1]["content"] == "1, 2"


@pytest.mark.parametrize(
    "messages",
    [
        [],
        ["x"],
        [USER, {"role": "assistant", "content": None}],
        [USER, {"role": "assistant", "content": "a", "tool_calls": [{"id": "1"}]}],
    ],
)
def test_odd_last_messages(messages: list[Any]) -> None:
    """There is no turn to go on with."""
    with pytest.raises(Unsound):
        written(chat(messages=messages))


def test_a_body_of_another_shape() -> None:
    """What cannot be read cannot be continued, and nothing else is raised."""
    for body in (b"", b"[]", b'{"n":"two"}', b"\xff"):
        with pytest.raises(Unsound):
            Prefill("chat", body)


def test_stops_in_either_form() -> None:
    """One string or several."""
    assert Prefill("chat", chat(stop="a")).stops == ("a",)
    assert Prefill("chat", chat(stop=["a", "b"])).stops == ("a", "b")
    assert Prefill("chat", chat()).stops == ()
