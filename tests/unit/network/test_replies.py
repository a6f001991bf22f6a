"""What a node says an engine said."""

import msgspec
import pytest

from garage_ai.network.complaint import complaint, error_message
from garage_ai.network.errors import BadNodeReply
from garage_ai.network.events import Usage
from garage_ai.network.plain_replies import PlainReader
from garage_ai.network.replies import (
    DONE,
    MAX_EVENT,
    MAX_SILENT,
    EngineErrorEvent,
    StreamReader,
)
from garage_ai.wire.frames import Route


def event(**fields: object) -> bytes:
    """Write a server-sent event."""
    return b"data: " + msgspec.json.encode(fields) + b"\n\n"


ROLE = event(id="c", choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}}])
WORD = event(id="c", choices=[{"index": 0, "delta": {"content": "Hej"}}])
STOP = event(id="c", choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
USAGE = event(id="c", choices=[], usage={"prompt_tokens": 5, "completion_tokens": 1, "more": 1})


def test_bytes_pass_unchanged_and_the_gateway_writes_done() -> None:
    """Events come out as they went in, however they are cut."""
    reader = StreamReader(include_usage=True)
    whole = ROLE + WORD + STOP + USAGE + DONE
    out = b"".join(reader.feed(whole[n : n + 7]) for n in range(0, len(whole), 7))
    assert out + reader.finish() == whole
    assert reader.seen.usage == Usage(5, 1)
    assert reader.seen.content_events == 1
    assert reader.seen.bytes_out == len(whole)


def test_a_role_is_no_content() -> None:
    """Another node may still be asked after an event that only names the role."""
    reader = StreamReader(include_usage=False)
    reader.feed(ROLE)
    assert not reader.has_content
    reader.feed(WORD)
    assert reader.has_content


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "x"},
        {"reasoning_content": "x"},
        {"refusal": "x"},
        {"tool_calls": [{"index": 0, "function": {"name": "f"}}]},
    ],
)
def test_what_is_content(delta: dict[str, object]) -> None:
    """Text, reasoning, refusals and tool calls would be said twice by a second node."""
    reader = StreamReader(include_usage=False)
    reader.feed(event(choices=[{"delta": delta}]))
    assert reader.has_content


def test_usage_that_was_not_asked_for_is_taken_out() -> None:
    """An event with nothing else is dropped; from another only usage is cut."""
    reader = StreamReader(include_usage=False)
    both = event(choices=[{"delta": {"content": "x"}}], usage={"prompt_tokens": 1}, extra=[1, 2])
    null = event(choices=[{"delta": {"content": "y"}}], usage=None)
    assert reader.feed(USAGE) == b""
    assert reader.feed(both) == event(choices=[{"delta": {"content": "x"}}], extra=[1, 2])
    assert reader.feed(null) == event(choices=[{"delta": {"content": "y"}}])
    assert reader.seen.usage == Usage(5, 1)


def test_of_several_usages_the_greatest_counts() -> None:
    """What is said again and again is what was used so far: never a sum, and never less."""
    reader = StreamReader(include_usage=False)
    for prompt, completion in ((5, 1), (5, 2), (5, 7), (0, 3)):
        usage = {"prompt_tokens": prompt, "completion_tokens": completion}
        reader.feed(event(choices=[], usage=usage))
    reader.feed(event(choices=[], usage={}))
    assert reader.seen.usage == Usage(5, 7)


def test_comments_and_other_line_ends_are_understood() -> None:
    """Servers differ in their line ends and keep-alives."""
    reader = StreamReader(include_usage=False)
    out = reader.feed(b": ping\r\n\r\nevent: x\r\n" + WORD.replace(b"\n", b"\r\n"))
    assert out == WORD


@pytest.mark.parametrize(
    "bad",
    [
        b"data: {\n\n",
        b"data: []\n\n",
        b'data: {"choices": 1}\n\n',
        b'data: {"choices": [{"delta": {"content": 5}}]}\n\n',
        b'data: {"choices": [{"index": 128, "text": "a"}]}\n\n',
        b'data: {"choices": [{"index": -1, "text": "a"}]}\n\n',
        b'data: {"choices": [], "usage": {"prompt_tokens": -1}}\n\n',
        b'data: {"choices": [], "usage": {"prompt_tokens": 99999999999999999999}}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
        b'data: "\xff"\n\n',
        DONE + WORD,
        b"x" * (MAX_EVENT + 1),
    ],
    ids=[
        "cut",
        "array",
        "choices",
        "content",
        "a choice that nobody asked for",
        "a choice before the first",
        "negative",
        "huge number",
        "deep",
        "no text",
        "after the end",
        "huge",
    ],
)
def test_a_bad_event_is_a_bad_reply(bad: bytes) -> None:
    """Nothing that cannot be read goes to the client."""
    with pytest.raises(BadNodeReply):
        StreamReader(include_usage=False).feed(bad)


def test_two_data_lines_cannot_smuggle_a_second_event() -> None:
    """Lines of one event are joined before they are judged."""
    reader = StreamReader(include_usage=False)
    with pytest.raises(BadNodeReply):
        reader.feed(b'data: {"choices": []}\ndata: {"choices": []}\n\n')


@pytest.mark.parametrize(
    "event_of_two",
    [
        b'data: {"choices":[{"delta":{"content":"a"}}],\r\r"x":1}\n\n',
        b'data: {"choices":[]}\rdata: {"choices":[]}\n\n',
        WORD + b'data: {"choices":[],\r\r"x":1}\n\n' + WORD + WORD,
    ],
)
def test_a_bare_cr_ends_a_line_here_as_at_the_client(event_of_two: bytes) -> None:
    """JSON lets it stand between two members; to a client it would be the end of the event."""
    with pytest.raises(BadNodeReply):
        StreamReader(include_usage=False).feed(event_of_two)


def test_an_event_in_a_million_pieces_is_read_once() -> None:
    """What came before is not looked through again with each piece: this took an hour."""
    reader = StreamReader(include_usage=False)
    long = event(choices=[{"index": 0, "delta": {"content": "x" * 1_000_000}}])
    out = [reader.feed(long[place : place + 1]) for place in range(len(long))]
    assert b"".join(out) == long
    assert out[-1] == long


def test_every_choice_that_began_must_end() -> None:
    """The first of two to finish is not the end of both."""
    reader = StreamReader(include_usage=False)
    for index, ends in ((0, None), (1, None), (0, "stop")):
        delta = {} if ends else {"content": "a"}
        reader.feed(event(choices=[{"index": index, "delta": delta, "finish_reason": ends}]))
    with pytest.raises(BadNodeReply):
        reader.finish()
    reader.feed(event(choices=[{"index": 1, "delta": {}, "finish_reason": "stop"}]))
    assert reader.finish() == DONE


@pytest.mark.parametrize("unended", ["", "null"])
def test_what_servers_write_for_null_is_no_end(unended: str) -> None:
    """Such a stream that is cut off was told as whole, and never gone on with."""
    reader = StreamReader(include_usage=False)
    word = event(choices=[{"index": 0, "delta": {"content": "a"}, "finish_reason": unended}])
    assert reader.feed(word * 3) == word * 3
    assert not reader.seen.finished
    with pytest.raises(BadNodeReply):
        reader.finish()
    reader.feed(STOP)
    assert reader.finish() == DONE


@pytest.mark.parametrize("end", [b"", WORD, WORD + b"data: {"], ids=["none", "open", "cut"])
def test_a_stream_that_only_stops_is_a_bad_reply(end: bytes) -> None:
    """An end without a finish or [DONE] is no end."""
    reader = StreamReader(include_usage=False)
    reader.feed(end)
    with pytest.raises(BadNodeReply):
        reader.finish()


def test_an_error_inside_a_stream_is_the_engines() -> None:
    """Engines report late failures as an event."""
    with pytest.raises(EngineErrorEvent, match="out of memory"):
        StreamReader(include_usage=False).feed(event(error={"message": "out of memory"}))


def test_a_plain_answer_is_checked_when_it_is_whole() -> None:
    """Its bytes are kept as they came."""
    body = b'{ "choices": [{"message": {"content": "Hej"}}], "usage": {"completion_tokens": 3} }'
    reader = PlainReader("chat", 1000)
    assert reader.feed(body[:20]) + reader.feed(body[20:]) == b""
    assert reader.finish() == body
    assert reader.seen.usage == Usage(None, 3)


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("chat", b""),
        ("chat", b"{}"),
        ("chat", b"[]"),
        ("chat", b'{"choices": []}'),
        ("chat", b'{"error": {}}'),
        ("chat", b'{"data": [1]}'),
        ("chat", b"\xff"),
        ("chat", b'{"choices": [{}]}'),
        ("chat", b'{"choices": [{"text": "Hej"}]}'),
        ("chat", b'{"choices": [{"message": {"content": 5}}]}'),
        ("completions", b'{"choices": [{"message": {"content": "Hej"}}]}'),
        ("completions", b'{"choices": [{"text": null}]}'),
        ("embeddings", b'{"data": [1]}'),
        ("embeddings", b'{"data": [{"embedding": 1}]}'),
        ("embeddings", b'{"data": [{"embedding": null}]}'),
        ("embeddings", b'{"choices": [{"text": "Hej"}]}'),
    ],
)
def test_a_plain_answer_without_a_result_is_a_bad_reply(route: Route, body: bytes) -> None:
    """Whatever came instead stays here."""
    reader = PlainReader(route, 1000)
    reader.feed(body)
    with pytest.raises(BadNodeReply):
        reader.finish()


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("chat", b'{"choices": [{"message": {"content": null, "tool_calls": [{"id": "1"}]}}]}'),
        ("chat", b'{"choices": [{"message": {"role": "assistant"}, "finish_reason": "stop"}]}'),
        ("completions", b'{"choices": [{"text": ""}]}'),
        ("embeddings", b'{"data": [{"embedding": [0.5], "index": 0}], "model": "m"}'),
        ("embeddings", b'{"data": [{"embedding": "AAAAPw=="}]}'),
    ],
)
def test_plain_answers_of_every_route(route: Route, body: bytes) -> None:
    """As engines give them, empty ones too."""
    reader = PlainReader(route, 1000)
    reader.feed(body)
    assert reader.finish() == body
    assert reader.seen.content_events == 1


def test_a_plain_answer_is_bounded() -> None:
    """A node cannot fill the gateway's memory."""
    reader = PlainReader("embeddings", 10)
    with pytest.raises(BadNodeReply):
        reader.feed(b"x" * 11)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "bad\\u0000 news"}}', "bad  news"),
        (b'{"error": "text"}', "text"),
        (b'{"message": "outer"}', "outer"),
        (b"<html>", ""),
        (b'{"error": {"message": "' + b"x" * 900 + b'"}}', "x" * 500),
    ],
)
def test_an_engines_error_text_is_cut_to_size(body: bytes, message: str) -> None:
    """Whatever its shape, it is printable and short."""
    assert error_message(body) == message


def test_too_long_a_prompt_is_told_apart() -> None:
    """Both engines' words for it are known."""
    vllm = b'{"error": {"message": "This model\'s maximum context length is 8192 tokens."}}'
    llama = b'{"error": {"message": "the request exceeds the available context size"}}'
    assert complaint(vllm).kind == "context"
    assert complaint(llama).kind == "context"
    assert complaint(b'{"error": {"message": "unknown role"}}').kind == "other"


@pytest.mark.parametrize("line", [b"\x00\xff garbage data: {}", b"{}", b" data: {}", b"<html>"])
def test_a_line_of_no_event_stream_takes_no_event_with_it(line: bytes) -> None:
    """Skipping it, as browsers do, would lose a piece of the answer without a word."""
    reader = StreamReader(include_usage=False)
    reader.feed(WORD)
    with pytest.raises(BadNodeReply):
        reader.feed(line + WORD)


@pytest.mark.parametrize("fault", [b"data: {nonsense\n\n", event(error={"message": "oops"})])
def test_what_came_before_a_fault_is_not_lost_with_it(fault: bytes) -> None:
    """How many events share a frame is chance; what the client gets is not."""
    reader = StreamReader(include_usage=False)
    with pytest.raises((BadNodeReply, EngineErrorEvent)):
        reader.feed(ROLE + WORD + fault + WORD)
    assert reader.salvaged == ROLE + WORD
    assert (reader.seen.content_events, reader.seen.bytes_out) == (1, len(ROLE + WORD))


@pytest.mark.parametrize(
    "silent",
    [
        b": wait\n\n",
        b"id\n" * 50 + b"\n",
        b"data: [DONE]\n\n",
        b'data: {"choices":[],"usage":null}\n\n',
    ],
)
def test_what_says_nothing_is_bounded(silent: bytes) -> None:
    """Nobody takes it, so it is given credit at once: a gateway would do nothing but read it."""
    reader = StreamReader(include_usage=False)
    reader.feed(WORD)
    lines = silent.count(b"\n") - 1
    assert reader.feed(silent * (MAX_SILENT // lines)) == b""
    with pytest.raises(BadNodeReply, match="comments"):
        reader.feed(silent * 5)
    assert reader.text == ["Hej"]


def test_comments_between_the_words_of_a_long_answer_are_no_fault() -> None:
    """Some servers write one with each; empty lines are less than a comment."""
    reader = StreamReader(include_usage=False)
    for _ in range(MAX_SILENT):
        assert reader.feed(b": ping\n\n" * 3 + WORD + b"\n" * 5) == WORD
    reader.feed(b"\n" * 100 * MAX_SILENT + STOP)
    assert reader.finish() == DONE


def test_comments_and_other_fields_are_no_answer() -> None:
    """Keep-alive comments, names and ids of events are left out."""
    reader = StreamReader(include_usage=False)
    assert reader.feed(b": ping\n\nevent: message\nid: 7\nretry: 5\n" + WORD) == WORD
