"""What went to the client of an answer, as text."""

import msgspec
import pytest

from garage_ai.network.delivered import Delivered
from garage_ai.network.plain_replies import PlainReader
from garage_ai.network.replies import StreamReader


def event(*choices: object) -> bytes:
    """Write an event as an engine does."""
    return b"data: " + msgspec.json.encode({"choices": list(choices)}) + b"\n\n"


def said(index: int = 0, **delta: object) -> dict[str, object]:
    """Write a choice."""
    return {"index": index, "delta": delta, "finish_reason": None}


def stream(*events: bytes) -> StreamReader:
    """Read events, as they came."""
    reader = StreamReader(include_usage=False)
    for each in events:
        reader.feed(each)
    return reader


def test_pieces_are_one_text() -> None:
    """Tokens are counted in what was said, not in what came at a time."""
    reader = stream(
        event(said(role="assistant")), event(said(content="he")), event(said(content="j"))
    )
    assert reader.delivered == Delivered(("hej",))
    assert reader.delivered.is_text


def test_choices_are_texts_of_their_own() -> None:
    """What one begins another does not end."""
    reader = stream(event(said(content="a")), event(said(1, content="b")), event(said(content="c")))
    assert reader.delivered.texts == ("ac", "b")
    assert not reader.delivered.is_text


def test_reasoning_and_refusals_count() -> None:
    """The client got them, by whichever of their names."""
    reader = stream(
        event(said(reasoning_content="hm")), event(said(reasoning="m")), event(said(refusal="no"))
    )
    assert reader.delivered.texts == ("hmm", "no")


def test_a_call_is_its_name_and_arguments() -> None:
    """Its pieces belong together by the call's number; the rest of it the model did not write."""
    reader = stream(
        event(
            said(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}])
        ),
        event(said(tool_calls=[{"index": 1, "function": {"name": "g", "arguments": "{"}}])),
        event(said(tool_calls=[{"index": 0, "function": {"arguments": '{"a":1}'}}])),
        event(said(tool_calls=[{"index": 1, "function": {"arguments": "}"}}])),
        event(said(function_call={"name": "old", "arguments": "{}"})),
    )
    assert reader.delivered.read() == ('f{"a":1}old{}', "g{}")


@pytest.mark.parametrize("nonsense", ["text", 3, [3], {"name": 3}, [{"function": 1}], [[]]])
def test_a_call_that_cannot_be_read_is_no_text(nonsense: object) -> None:
    """A node may send anything; it is forwarded, and not billed."""
    assert stream(event(said(tool_calls=nonsense))).delivered.read() == ()


def test_what_the_client_left_behind_is_taken_back() -> None:
    """Of everything: it is not billed."""
    events = [
        event(said(content="a"), said(1, content="x")),
        event(said(reasoning_content="r"), said(refusal="n")),
        event(said(content="b"), said(1, content="y")),
        event(said(tool_calls=[{"index": 0, "function": {"name": "f"}}])),
    ]
    reader = stream(*events)
    reader.retract(events[2] + events[3])
    assert reader.delivered == Delivered(("a", "x", "r", "n"))
    reader.retract(b"".join(events))
    assert reader.delivered == Delivered()


def test_events_that_came_together_count_alike() -> None:
    """They are read at once, and nothing is lost of them."""
    events = [event(said(content=word)) for word in ("a", "b", "c")]
    assert stream(b"".join(events)).delivered == stream(*events).delivered == Delivered(("abc",))


def test_a_plain_answer() -> None:
    """All that stands in its messages, of each choice."""
    reader = PlainReader("chat", 1000)
    call = [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]
    body = {
        "choices": [
            {"message": {"content": "hej", "reasoning_content": "hm", "tool_calls": call}},
            {"message": {"content": None, "refusal": "no"}},
        ]
    }
    reader.feed(msgspec.json.encode(body))
    assert reader.delivered == Delivered()
    given = reader.finish()
    assert reader.delivered.read() == ("hej", "hm", "no", "f{}")
    reader.retract(given)
    assert reader.delivered == Delivered()


def test_embeddings_are_no_text() -> None:
    """Only what was asked is counted."""
    reader = PlainReader("embeddings", 1000)
    reader.feed(b'{"data":[{"embedding":[1]}]}')
    reader.finish()
    assert reader.delivered == Delivered()
