"""One answer of an engine, read from bytes."""

import gc

import pytest

from garage_ai.node.engines.http_reader import MAX_OVERHEAD, Reader, Unanswered
from garage_ai.node.errors import EngineLost, EngineProtocol

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def read(*pieces: bytes, ended: bool = False) -> Reader:
    reader = Reader()
    for piece in pieces:
        reader.feed(piece)
    if ended:
        reader.ended(cleanly=True)
    return reader


def all_of(reader: Reader) -> bytes:
    return b"".join(iter(reader.take, b""))


@pytest.mark.parametrize(
    ("answer", "body", "keeps"),
    [
        (OK + b"Content-Length: 3\r\n\r\nabc", b"abc", True),
        (OK + b"Content-Length: 0\r\n\r\n", b"", True),
        (CHUNKED + b"1\r\na\r\n2;x=y\r\nbc\r\n0\r\nTrailer: x\r\n\r\n", b"abc", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n", b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", b"", True),
        (OK + b"Connection: close\r\nContent-Length: 3\r\n\r\nabc", b"abc", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc", False),
        (
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
            b"abc",
            True,
        ),
        (b"HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc", b"abc", True),
    ],
)
def test_an_answer_that_says_where_it_ends(answer: bytes, body: bytes, *, keeps: bool) -> None:
    """It is over with its last byte, and says whether the connection may be asked again."""
    reader = read(answer)
    assert all_of(reader) == body
    assert reader.at_end
    assert reader.keeps == keeps
    reader.ended(cleanly=False)
    assert reader.at_end


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_an_answer_without_a_length_ends_with_its_connection(version: bytes) -> None:
    """A clean end of the connection is the end of the answer; a reset is not."""
    answer = version + b" 200 OK\r\n\r\nabc"
    reader = read(answer)
    assert reader.take() == b"abc"
    assert not reader.ready
    reader.ended(cleanly=True)
    assert reader.at_end
    assert reader.take() == b""
    assert not reader.keeps

    cut = read(answer)
    cut.ended(cleanly=False)
    assert cut.take() == b"abc"
    with pytest.raises(EngineLost):
        cut.take()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200",
        OK + b"Content-Length: 4\r\n\r\nabc",
        OK + b"Content-Length: 4\r\n",
        CHUNKED,
        CHUNKED + b"3\r\nabc\r\n",
        CHUNKED + b"3\r\nabc\r\n0\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\nwhatever",
    ],
)
def test_an_answer_cut_short(answer: bytes) -> None:
    """Before its end the end of the connection is a lost engine, after the body that came."""
    reader = read(answer, ended=True)
    with pytest.raises(EngineLost) as caught:
        all_of(reader)
    assert not isinstance(caught.value, Unanswered)
    assert reader.over
    assert not reader.at_end
    assert not reader.keeps


def test_a_connection_that_ends_without_a_byte() -> None:
    """That there was no answer at all is told apart: the request may be put again."""
    with pytest.raises(Unanswered):
        read(ended=True).take()


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b"HTTP/1.1 099 Odd\r\n\r\n",
        b"HTTP/1.1 600 Odd\r\n\r\n",
        b"HTTP/1.1 1000 Odd\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc",
        OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 99999999999999999999999\r\n\r\n",
        OK + b"A: b\r\n folded\r\n\r\n",
        OK + b"A\x00: b\r\n\r\n",
        CHUNKED + b"x\r\n",
        CHUNKED + b"fffffffffffffffff\r\n",
        CHUNKED + b"1\r\nab\r\n",
    ],
)
def test_nonsense(answer: bytes) -> None:
    """What is no HTTP/1.1 answer ends it at once."""
    with pytest.raises(EngineProtocol):
        all_of(read(answer))


def test_what_came_before_nonsense_is_given_first() -> None:
    """A body is not lost because of what follows it."""
    reader = read(CHUNKED + b"3\r\nabc\r\nnonsense")
    assert reader.take() == b"abc"
    assert not reader.at_end
    with pytest.raises(EngineProtocol):
        reader.take()


def test_informational_answers_are_forgotten() -> None:
    """Nothing that an informational head says holds for the answer."""
    early = b"HTTP/1.1 103 Early Hints\r\nContent-Type: a/b\r\nContent-Length: 9\r\n\r\n"
    reader = read(b"HTTP/1.1 100 Continue\r\n\r\n" + early)
    assert (reader.status, reader.over) == (0, False)
    reader.feed(b"HTTP/1.1 200 OK\r\n\r\nabc")
    assert (reader.status, reader.content_type) == (200, "")
    assert reader.take() == b"abc"
    reader.ended(cleanly=True)
    assert reader.at_end


@pytest.mark.parametrize("rest", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ny", b"\r\nx"])
@pytest.mark.parametrize("together", [True, False])
def test_bytes_after_the_end_belong_to_nobody(rest: bytes, *, together: bool) -> None:
    """The answer stands, and the connection is not asked again."""
    answer = OK + b"Content-Type: a/b\r\nContent-Length: 3\r\n\r\nabc"
    reader = read(answer + rest) if together else read(answer, rest)
    assert (reader.take(), reader.take()) == (b"abc", b"")
    assert (reader.status, reader.content_type) == (200, "a/b")
    assert reader.at_end
    assert not reader.keeps


def test_what_an_answer_is() -> None:
    """The first content type counts, in whatever spelling."""
    head = OK + b"cOnTeNt-TyPe:  text/event-stream; charset=utf-8 \t\r\nContent-Type: b\r\n\r\n"
    assert read(head).content_type == "text/event-stream; charset=utf-8"


@pytest.mark.parametrize("step", [1, 1000, MAX_OVERHEAD, 10 * MAX_OVERHEAD])
@pytest.mark.parametrize(
    "flood",
    [
        OK + b"X: " + b"y" * MAX_OVERHEAD,
        OK + b"X: y\r\n" * (MAX_OVERHEAD // 6),
        OK + b"X:" + b" " * MAX_OVERHEAD + b"y\r\n\r\n",
        b"HTTP/1.1 200 " + b"y" * MAX_OVERHEAD,
        b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_OVERHEAD // 25 + 1),
        CHUNKED + b"3\r\nabc\r\n0\r\n" + b"X: y\r\n" * (MAX_OVERHEAD // 3),
        CHUNKED + b"3;" + b"x" * 2 * MAX_OVERHEAD,
    ],
)
def test_a_head_without_end(flood: bytes, step: int) -> None:
    """Heads, trailers and the like are bounded, however they come in."""
    reader = Reader()
    for start in range(0, len(flood), step):
        reader.feed(flood[start : start + step])
    assert reader.over
    with pytest.raises(EngineProtocol, match="all head"):
        all_of(reader)


def test_a_head_just_within_its_bound() -> None:
    """One that is whole in time is taken, with whatever body follows at once."""
    head = OK + b"Content-Length: 200000\r\nX: "
    head += b"y" * (MAX_OVERHEAD - len(head) - 5) + b"\r\n\r\n"
    reader = read(head + b"z" * 200_000)
    assert reader.take() == b"z" * 200_000
    assert reader.at_end


@pytest.mark.parametrize(
    ("piece", "cleanly"), [(OK + b"Content-Length: 0\r\n\r\n", True), (b"x", True), (OK, False)]
)
def test_an_answer_leaves_nothing_to_the_collector(piece: bytes, *, cleanly: bool) -> None:
    """Answer and parser refer to each other only until the end."""
    gc.disable()
    try:
        gc.collect()
        reader = read(piece)
        reader.ended(cleanly=cleanly)
        del reader
        assert gc.collect() == 0
    finally:
        gc.enable()
