"""Lines of input files: cut anywhere, read strictly."""

import json
from typing import Final

import pytest

from garage_ai.batch.errors import LineRefused
from garage_ai.batch.requests import Line, LineSplitter, read_line
from garage_ai.gateway.batching import read_line_body

CHAT: Final = "/v1/chat/completions"
BODY = {"model": "small", "messages": [{"role": "user", "content": "Hej"}], "user": "x"}
ASKED = {"custom_id": "a", "method": "POST", "url": CHAT, "body": BODY}


def split(data: bytes, size: int, longest: int = 100) -> list[Line]:
    """Cut data that comes in pieces of one size."""
    splitter = LineSplitter(longest)
    lines: list[Line] = []
    for start in range(0, len(data), size):
        lines += splitter.feed(data[start : start + size])
    return [*lines, *splitter.finish()]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_lines_are_the_same_however_they_come(size: int) -> None:
    """Numbers, offsets and bytes do not depend on the pieces; blank ones only count."""
    data = b'\xef\xbb\xbf{"a":1}\r\n\n  \n{"b":2}\n{"c":3}'
    assert split(data, size) == [
        Line(1, 3, b'{"a":1}\r'),
        Line(4, 16, b'{"b":2}'),
        Line(5, 24, b'{"c":3}'),
    ]
    for line in split(data, size):
        assert data[line.offset : line.offset + line.length] == line.data


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_of_a_line_too_long_nothing_is_held(size: int) -> None:
    """It is told by its number, and the next line is where it is."""
    data = b"x" * 150 + b"\n" + b"y\n" + b"z" * 101
    assert split(data, size) == [Line(1, 0, None), Line(2, 151, b"y"), Line(3, 153, None)]


def test_a_splitter_goes_on_in_the_middle() -> None:
    """Behind a line that was read before, numbers and offsets go on."""
    splitter = LineSplitter(100, number=4, offset=50)
    assert [*splitter.feed(b"a\nb"), *splitter.finish()] == [Line(5, 50, b"a"), Line(6, 52, b"b")]


def test_a_line_is_read_as_the_edge_reads_a_request() -> None:
    """The body is cut to what engines may see."""
    asked = read_line(json.dumps(ASKED).encode(), CHAT, read_line_body)
    assert (asked.custom_id, asked.reading.model) == ("a", "small")
    assert b'"user"' not in asked.reading.body.partition(b'"messages"')[0]


@pytest.mark.parametrize(
    ("data", "code", "param"),
    [
        (b"\xff", "invalid_json_line", None),
        (b'{"body":' + b"[" * 100_000, "invalid_json_line", None),
        (b"[]", "invalid_request", None),
        (json.dumps(ASKED | {"custom_id": ""}).encode(), "invalid_request", "custom_id"),
        (json.dumps(ASKED | {"custom_id": "x" * 256}).encode(), "invalid_request", "custom_id"),
        (json.dumps(ASKED | {"custom_id": "a\0"}).encode(), "invalid_request", "custom_id"),
        (json.dumps(ASKED | {"custom_id": None}).encode(), "invalid_request", "custom_id"),
        (json.dumps({"custom_id": "a"}).encode(), "invalid_request", "method"),
        (json.dumps(ASKED | {"method": "post"}).encode(), "invalid_request", "method"),
        (json.dumps(ASKED | {"url": "/v1/completions"}).encode(), "url_mismatch", "url"),
        (json.dumps(ASKED | {"body": []}).encode(), "invalid_json", "body"),
        (
            json.dumps(ASKED | {"body": BODY | {"temperature": "x"}}).encode(),
            "invalid_value",
            "body.temperature",
        ),
        (
            json.dumps(ASKED | {"body": BODY | {"stream": True}}).encode(),
            "invalid_request",
            "body.stream",
        ),
    ],
)
def test_what_is_no_request_is_refused(data: bytes, code: str, param: str | None) -> None:
    """Each fault has its code and its place."""
    with pytest.raises(LineRefused) as caught:
        read_line(data, CHAT, read_line_body)
    assert (caught.value.code, caught.value.param) == (code, param)
