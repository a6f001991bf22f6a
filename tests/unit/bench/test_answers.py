"""The bytes of the mock engine."""

import msgspec
import pytest
from bench.load_protocol import Expectation, LoadError, check, dechunk
from bench.mock_answers import Generation, Shape, plain_answer, stream_parts, text_of


def shape(chunks: int = 3, tool: str = "") -> Shape:
    return Shape("chat", "mock", chunks, "stop", tool, 16)


def stream_body(chunks: int, *, done: bool = True) -> bytes:
    parts = stream_parts(shape(chunks))
    body = b"".join(parts.events) + (parts.done if done else b"") + b"0\r\n\r\n"
    whole = dechunk(body, 0)
    assert whole is not None
    return whole


def test_stream_has_one_event_for_each_chunk_and_ends_in_a_finish_reason() -> None:
    """A stream of n chunks says n words and its last event says why it stopped."""
    events = [msgspec.json.decode(e.split(b"\r\n")[1][6:]) for e in stream_parts(shape()).events]
    words = [event["choices"][0]["delta"]["content"] for event in events]
    assert "".join(words) == text_of(3) == " w0 w1 w2"
    assert [event["choices"][0]["finish_reason"] for event in events] == [None, None, "stop"]


def test_plain_answer_counts_its_tokens() -> None:
    """A plain answer says the same words as the stream, and how many they were."""
    head, _, body = plain_answer(shape(5)).partition(b"\r\n\r\n")
    payload = msgspec.json.decode(body)
    assert f"content-length: {len(body)}".encode() in head
    assert payload["choices"][0]["message"]["content"] == text_of(5)
    assert payload["usage"] == {"prompt_tokens": 16, "completion_tokens": 5, "total_tokens": 21}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"messages": [{"role": "user", "content": "x w0"}]}, 0),
        ({"messages": [{"content": " w0 w1"}], "continue_final_message": True}, 2),
        ({"messages": [{"content": "x w1 w2"}], "continue_final_message": True}, 0),
        ({"messages": [{"content": [" w0"]}], "continue_final_message": True}, 0),
        ({"prompt": "say w0 w1 w2"}, 3),
        ({"prompt": "say w0 please"}, 0),
        ({"prompt": [1, 2]}, 0),
    ],
)
def test_an_answer_under_way_is_continued(asked: dict[str, object], said: int) -> None:
    """The next chunk is the one after those that the request brings along."""
    assert msgspec.json.decode(msgspec.json.encode(asked), type=Generation).said == said
    continued = plain_answer(shape(2)._replace(start=said)).partition(b"\r\n\r\n")[2]
    message = msgspec.json.decode(continued)["choices"][0]["message"]
    assert message["content"] == f" w{said} w{said + 1}"


def test_a_tool_that_is_demanded_is_called() -> None:
    """With tool_choice `required` the first tool is called with whole arguments."""
    request = msgspec.convert(
        {"tools": [{"function": {"name": "find"}}], "tool_choice": "required"}, Generation
    )
    assert request.forced_tool == "find"
    body = plain_answer(shape(3, "find")).partition(b"\r\n\r\n")[2]
    call = msgspec.json.decode(body)["choices"][0]["message"]["tool_calls"][0]["function"]
    assert call == {"name": "find", "arguments": '{"word": "w0"}'}


def test_a_tool_is_left_alone_when_the_client_leaves_the_choice() -> None:
    """Tools without tool_choice are answered with text."""
    assert not msgspec.convert({"tools": [{"function": {"name": "f"}}]}, Generation).forced_tool


def test_the_newer_name_of_the_token_limit_wins() -> None:
    """max_completion_tokens stands above max_tokens."""
    assert Generation(max_tokens=5, max_completion_tokens=7).limit == 7
    assert Generation(max_tokens=5).limit == 5
    assert Generation().limit is None


@pytest.mark.parametrize("stream", [True, False])
def test_the_load_client_accepts_exactly_the_mock_engines_answer(stream: bool) -> None:
    """A whole answer of the mock engine passes the check with its number of chunks."""
    body = stream_body(32) if stream else plain_answer(shape(32)).partition(b"\r\n\r\n")[2]
    assert check(body, Expectation(stream, 32, exact=True)) == 32


@pytest.mark.parametrize(
    "spoilt",
    [
        stream_body(31),
        stream_body(33),
        stream_body(32, done=False),
        stream_body(32).replace(b' w7"', b' w8"', 1).replace(b" w31", b" w30"),
    ],
    ids=["one missing", "one too many", "no [DONE]", "wrong last word"],
)
def test_the_load_client_refuses_a_stream_that_is_not_right(spoilt: bytes) -> None:
    """A lost, doubled or unfinished stream is an error, not a request served."""
    with pytest.raises(LoadError):
        check(spoilt, Expectation(stream=True, chunks=32, exact=True))


def test_a_real_models_stream_is_checked_event_by_event() -> None:
    """Without knowing the words, content events are counted and [DONE] is demanded."""
    expect = Expectation(stream=True, chunks=32, exact=False)
    assert check(stream_body(5), expect) == 5
    with pytest.raises(LoadError, match="DONE"):
        check(stream_body(5, done=False), expect)
    with pytest.raises(LoadError, match="error"):
        check(b'data: {"error":{"code":"node_lost"}}\n\ndata: [DONE]\n\n', expect)


def test_a_body_that_is_not_whole_is_waited_for() -> None:
    """Dechunking says None until the last chunk is there, wherever the bytes were cut."""
    whole = b"4\r\nabcd\r\n2\r\nef\r\n0\r\n\r\n"
    assert dechunk(whole, 0) == b"abcdef"
    assert all(dechunk(whole[:end], 0) is None for end in range(len(whole) - 5))
    with pytest.raises(LoadError):
        dechunk(b"xyz\r\n", 0)
