"""One plain answer made of a stream."""

import json
from typing import Any

import pytest

from garage_ai.node.engines.gather import Gatherer
from garage_ai.node.errors import EngineProtocol


def event(choices: list[dict[str, Any]], **top: Any) -> bytes:
    told = {"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": choices} | top
    return b"data: " + json.dumps(told).encode() + b"\n\n"


def delta(index: int = 0, finish: str | None = None, **said: Any) -> dict[str, Any]:
    return {"index": index, "delta": said, "finish_reason": finish}


def gathered(*chunks: bytes, route: str = "chat") -> Any:
    gatherer = Gatherer(route)  # type: ignore[arg-type]
    for chunk in chunks:
        gatherer.feed(chunk, 0.0)
    return json.loads(gatherer.whole())


def test_joins_the_text_of_a_chat_answer() -> None:
    """Role, text, reason of the end and usage stand where a plain answer has them."""
    answer = gathered(
        event([delta(role="assistant", content=None)]),
        event([delta(content="Hel")]) + event([delta(content="lo")]),
        event([delta(finish="stop")]),
        event([], usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}),
        b"data: [DONE]\n\n",
    )
    assert answer == {
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello"},
                "finish_reason": "stop",
            }
        ],
        "id": "c1",
        "object": "chat.completion",
        "model": "m",
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }


def test_joins_tool_calls_by_their_index() -> None:
    """Arguments come in pieces; name and id come whole, and once."""

    def call(index: int, **said: Any) -> dict[str, Any]:
        return {"index": index, **said}

    answer = gathered(
        event([delta(role="assistant", content=None)]),
        event(
            [
                delta(
                    tool_calls=[
                        call(0, id="t0", type="function", function={"name": "f", "arguments": "{"})
                    ]
                )
            ]
        ),
        event([delta(tool_calls=[call(0, function={"arguments": '"a":1}'})])]),
        event(
            [
                delta(
                    tool_calls=[
                        call(1, id="t1", type="function", function={"name": "g", "arguments": ""})
                    ]
                )
            ]
        ),
        event([delta(tool_calls=[call(1, function={"arguments": "{}"})])]),
        event([delta(finish="tool_calls")]),
    )
    assert answer["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "t0", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
            {"id": "t1", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }


def test_keeps_several_choices_apart() -> None:
    """Each choice is joined by its index, and they stand in order."""
    answer = gathered(
        event([delta(1, content="b")]),
        event([delta(0, content="a")]),
        event([delta(1, content="B", finish="length")]),
        event([delta(0, content="A", finish="stop")]),
    )
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["aA", "bB"]
    assert [choice["finish_reason"] for choice in answer["choices"]] == ["stop", "length"]


def test_joins_logprobs() -> None:
    """The lists of log probabilities follow each other."""

    def piece(text: str) -> dict[str, Any]:
        logprobs = {"content": [{"token": text, "logprob": -1.0}]}
        return {"index": 0, "delta": {"content": text}, "finish_reason": None, "logprobs": logprobs}

    answer = gathered(event([piece("a")]), event([piece("b")]), event([delta(finish="stop")]))
    said = answer["choices"][0]["logprobs"]["content"]
    assert [each["token"] for each in said] == ["a", "b"]


def test_joins_the_text_of_a_completion() -> None:
    """A completion has `text` and no message."""

    def piece(text: str, finish: str | None = None) -> dict[str, Any]:
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}

    answer = gathered(
        event([piece("On")], object="text_completion"),
        event([piece("ce", "stop")], object="text_completion"),
        route="completions",
    )
    assert answer["object"] == "text_completion"
    assert answer["choices"] == [
        {"index": 0, "text": "Once", "logprobs": None, "finish_reason": "stop"}
    ]


def test_a_stream_that_was_cut_off_is_no_answer() -> None:
    """Without a reason for its end the answer is not whole."""
    gatherer = Gatherer("chat")
    gatherer.feed(event([delta(content="Hel")]), 0.0)
    with pytest.raises(EngineProtocol):
        gatherer.whole()


def test_keeps_the_engines_error() -> None:
    """An error inside the stream is told as the engine told it."""
    gatherer = Gatherer("chat")
    gatherer.feed(b'data: {"error":{"code":500,"message":"no memory"}}\n\n', 0.0)
    assert gatherer.error == b'{"error":{"code":500,"message":"no memory"}}'


@pytest.mark.parametrize(
    "chunk",
    [
        b"data: {]\n\n",
        b'data: {"choices":[1]}\n\n',
        b'data: {"choices":[{}]}\n\n',
        b'data: {"choices":5}\n\n',
        b"data: {" + b'"a":{' * 50_000 + b"\n\n",
    ],
)
def test_an_unreadable_event_is_our_own_error(chunk: bytes) -> None:
    """Whatever the engine says, the error is one that a request can end with."""
    with pytest.raises(EngineProtocol):
        gathered(chunk)
