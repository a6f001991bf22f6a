"""Reading answers: however they are cut, they are the same; whatever comes, it has a name."""

from dataclasses import dataclass

from hypothesis import example, given
from hypothesis import strategies as st

from garage_ai.node.engines.http_reader import Reader
from garage_ai.node.errors import EngineError, EngineLost, EngineProtocol

names = st.sampled_from([b"X-A", b"Content-Type", b"Server", b"Connection", b"Keep-Alive"])
values = st.sampled_from([b"", b"a", b"text/event-stream", b"close", b"keep-alive", b"timeout=5"])
headers = st.lists(st.builds(lambda a, b: a + b": " + b + b"\r\n", names, values), max_size=4)
bodies = st.lists(st.binary(min_size=1, max_size=20), max_size=4)


@dataclass(frozen=True)
class Outcome:
    """All that an answer gives."""

    status: int
    content_type: str
    body: bytes
    error: type[EngineError] | None
    whole: bool
    keeps: bool


def outcome_of(pieces: list[bytes], *, cleanly: bool, greedy: bool) -> Outcome:
    """Read an answer; a greedy reader takes each piece of body as it comes."""
    reader = Reader()
    body, error = b"", None
    for piece in pieces:
        reader.feed(piece)
        while greedy and reader.ready and not reader.over:
            body += reader.take()
    keeps = reader.keeps
    reader.ended(cleanly=cleanly)
    assert reader.keeps == keeps
    assert reader.ready
    try:
        while part := reader.take():
            body += part
    except EngineError as raised:
        error = type(raised)
    return Outcome(reader.status, reader.content_type, body, error, reader.at_end, keeps)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Draw an answer that may be preceded by others, followed by bytes, cut, or scratched."""
    text = b"HTTP/1.1 100 Continue\r\n\r\n" * draw(st.integers(0, 2))
    version = draw(st.sampled_from([b"HTTP/1.1", b"HTTP/1.0"]))
    status = draw(st.sampled_from([b"200 OK", b"404 Not Found", b"204 No Content", b"500"]))
    text += version + b" " + status + b"\r\n" + b"".join(draw(headers))
    body = draw(bodies)
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    if framing == "length":
        whole = b"".join(body)
        text += b"Content-Length: %d\r\n\r\n" % len(whole) + whole
    elif framing == "chunked":
        text += b"Transfer-Encoding: chunked\r\n\r\n"
        text += b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in body)
        text += b"0\r\n" + draw(st.sampled_from([b"", b"T: x\r\n"])) + b"\r\n"
    else:
        text += b"\r\n" + b"".join(body)
    text += draw(st.sampled_from([b"", b"", b"\r\n", b"x", b"HTTP/1.1 200 OK\r\n\r\n"]))
    return text


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw an answer that is cut short or has other bytes somewhere."""
    text = draw(answers())
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 6)))
    return text[:start] + draw(st.binary(max_size=6)) + text[end : draw(st.integers(0, len(text)))]


@st.composite
def cut(draw: st.DrawFn, source: st.SearchStrategy[bytes]) -> list[bytes]:
    """Draw bytes in pieces."""
    text = draw(source)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@given(cut(answers() | damaged()), st.booleans(), st.booleans())
@example([b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", b"\r\n"], True, False)
@example([b"HTTP/1.1 200 OK\r\nContent-Type: a\r\nC", b"\x00"], False, False)
def test_any_cut_gives_the_same_answer(
    pieces: list[bytes],
    cleanly: bool,
    greedy: bool,
) -> None:
    """Only the bytes count, not how the network delivered them or when they were taken."""
    whole = outcome_of([b"".join(pieces)], cleanly=cleanly, greedy=False)
    assert outcome_of(pieces, cleanly=cleanly, greedy=greedy) == whole


@given(cut(answers() | damaged() | st.binary(max_size=200)))
def test_any_bytes_end_in_an_answer_or_a_named_error(pieces: list[bytes]) -> None:
    """Nothing but a lost engine or one that is not understood comes out, and nothing hangs."""
    outcome = outcome_of(pieces, cleanly=True, greedy=True)
    if outcome.error is None:
        assert outcome.whole
        assert outcome.status >= 200
    else:
        assert issubclass(outcome.error, EngineLost | EngineProtocol)
        assert not outcome.whole
        assert not outcome.keeps


@given(bodies, st.booleans())
def test_a_body_arrives_as_it_was_sent(parts: list[bytes], chunked: bool) -> None:
    """No byte is lost or added, in chunks or with a length."""
    whole = b"".join(parts)
    if chunked:
        framed = b"Transfer-Encoding: chunked\r\n\r\n"
        framed += b"".join(b"%X\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    else:
        framed = b"Content-Length: %d\r\n\r\n" % len(whole) + whole
    outcome = outcome_of([b"HTTP/1.1 200 OK\r\n" + framed], cleanly=False, greedy=False)
    assert outcome == Outcome(200, "", whole, None, whole=True, keeps=True)
