"""Cutting streams: whatever the events and the chunks, no byte is lost and no event is halved."""

from hypothesis import given
from hypothesis import strategies as st

from garage_ai.node.sse import EventCutter, says_done
from garage_ai.wire.frames import MAX_DATA

ends = st.sampled_from([b"\n", b"\r\n"])
lines = st.sampled_from([b": ping", b"data: x", b"data: {}", b"event: e", b"id: 1", b"data:"])
events = st.builds(
    lambda end, parts: b"".join(part + end for part in parts) + end,
    ends,
    st.lists(lines, min_size=1, max_size=3),
)


@st.composite
def chunked(draw: st.DrawFn, source: st.SearchStrategy[bytes]) -> list[bytes]:
    text = draw(source)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@given(chunked(st.lists(events, max_size=8).map(b"".join)))
def test_events_come_out_whole(chunks: list[bytes]) -> None:
    """Each piece ends at a border, and together they are what came in."""
    cutter = EventCutter()
    pieces = [cutter.feed(chunk) for chunk in chunks]
    assert cutter.rest() == b""
    assert b"".join(pieces) == b"".join(chunks)
    for piece in pieces:
        assert not piece or piece.endswith((b"\n\n", b"\n\r\n"))


@given(chunked(st.binary(max_size=400) | st.text("\r\n:ad ", max_size=60).map(str.encode)))
def test_any_bytes_come_out_as_they_went_in(chunks: list[bytes]) -> None:
    """What is no stream of events is passed on all the same."""
    cutter = EventCutter()
    out = b"".join(cutter.feed(chunk) for chunk in chunks) + cutter.rest()
    assert out == b"".join(chunks)


@given(st.integers(1, 5), st.integers(1, 40_000))
def test_what_is_held_back_is_bounded(times: int, size: int) -> None:
    """An event without end goes on in pieces."""
    cutter = EventCutter()
    held = 0
    for _ in range(times * 20):
        held += size - len(cutter.feed(b"x" * size))
        assert held <= MAX_DATA


@given(chunked(st.lists(events, min_size=1, max_size=5).map(b"".join)))
def test_an_event_leaves_with_the_chunk_that_ends_it(chunks: list[bytes]) -> None:
    """Nothing whole is held back."""
    cutter = EventCutter()
    came, left = b"", b""
    for chunk in chunks:
        came += chunk
        left += cutter.feed(chunk)
        assert b"\n\n" not in came[len(left) :]
        assert b"\n\r\n" not in came[len(left) :]


def test_knows_the_last_event() -> None:
    """`[DONE]` ends a stream, however its lines end."""
    assert says_done(b'data: {"a":1}\n\ndata: [DONE]\n\n')
    assert says_done(b"data: [DONE]\r\n\r\n")
    assert not says_done(b'data: "data: [DONE]"\n\n')
    assert not says_done(b"")
