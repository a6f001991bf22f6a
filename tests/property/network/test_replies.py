"""Reading a streamed answer: how its bytes are cut makes no difference."""

from dataclasses import dataclass

from hypothesis import example, given
from hypothesis import strategies as st

from garage_ai.network.errors import BadNodeReply
from garage_ai.network.replies import EngineErrorEvent, Seen, StreamReader

WORD = b'data: {"choices":[{"delta":{"content":"w"}}]}\n\n'

PIECES = st.sampled_from(
    [
        *[WORD] * 6,
        b'data: {"choices":[{"delta":{"content":"w"},"text":"t"}]}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[{"id":"1"}]}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"w"}}],"error":null}\n\n',
        b'data: {"choices":[{"delta":{"content":"w"}},{"index":1,"delta":{"content":"o"}}]}\n\n',
        b'data: {"choices":[{"text":"t"}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"data: {\\n\\ndata: {"}}]}\n\n',
        b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n',
        b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
        b'data: {"choices":[{"delta":{"reasoning":"r"}}],"usage":null}\n\n',
        b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n',
        b"data: [DONE]\n\n",
        b'data: {"error":{"message":"no"}}\n\n',
        b": a comment\n\n",
        b'data: {"choices":\ndata: []}\n\n',
        b'data: {"choices":[]}\n{"choices":[]}\n\n',
        b"data: {not json}\n\n",
        b'data: {"choices":[]}\r\r',
        b'data: {"choices":[{"delta":{"content":"r"}}]}\r\n\r\n',
        b'data: {"choices":[],\r\r"x":1}\n\n',
        b'data: {"choices":[{"index":1,"delta":{"content":"o"}}]}\n\n',
        b"\n",
        b"\r",
        b"\n\r",
        b"data: {",
        b"\n\ndata: {",
    ]
)


@dataclass(frozen=True)
class Outcome:
    """All that may be seen of a reader after it was fed."""

    given: bytes
    fault: str
    seen: Seen
    text: tuple[str, ...]
    first: bytes
    beyond_text: bool
    beside: dict[tuple[int, str], list[str]]
    calls: tuple[bytes, ...]


def read(pieces: list[bytes], *, include_usage: bool) -> Outcome:
    """Feed a reader until it refuses."""
    reader = StreamReader(include_usage)
    out, fault = b"", ""
    try:
        for piece in pieces:
            out += reader.feed(piece)
        out += reader.finish()
    except (BadNodeReply, EngineErrorEvent) as error:
        out += reader.salvaged
        fault = type(error).__name__ + str(error)
    return Outcome(
        out,
        fault,
        reader.seen,
        tuple(reader.text),
        reader.first,
        reader.beyond_text,
        reader.beside,
        tuple(reader.calls),
    )


@given(st.lists(PIECES, max_size=8), st.booleans())
@example([WORD, b'data: {"choices":[]}\n{"choices":[]}\n\n', b"\n", WORD], False)
def test_all_at_once_is_as_byte_by_byte(pieces: list[bytes], include_usage: bool) -> None:
    """What is read in one go is what is read a byte at a time, faults included."""
    whole = b"".join(pieces)
    by_bytes = [whole[place : place + 1] for place in range(len(whole))]
    assert read([whole], include_usage=include_usage) == read(by_bytes, include_usage=include_usage)


@given(st.lists(PIECES, max_size=8), st.integers(0, 200))
def test_a_cut_makes_no_difference(pieces: list[bytes], place: int) -> None:
    """Nor does a single cut, wherever it falls."""
    whole = b"".join(pieces)
    cut = [whole[:place], whole[place:]]
    assert read(cut, include_usage=False) == read([whole], include_usage=False)
