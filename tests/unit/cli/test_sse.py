"""Server-sent events."""

import pytest

from garage_ai.cli.sse import MAX_EVENT, BadStream, events


def test_events_are_told_apart_by_empty_lines() -> None:
    """Each event gives its data; comments and other fields are passed over."""
    lines = [b": hello\n", b"data: one\n", b"\n", b"event: x\r\n", b"data:two\r\n", b"\r\n"]
    assert list(events(lines)) == [b"one", b"two"]


def test_data_of_several_lines_is_joined() -> None:
    """An event's data lines belong together."""
    assert list(events([b"data: a", b"data: b", b""])) == [b"a\nb"]


def test_a_cut_event_is_no_event() -> None:
    """What the end of the stream cuts off is not given."""
    assert list(events([b"data: a\n", b"\n", b"data: b\n"])) == [b"a"]


def test_an_event_has_a_bound() -> None:
    """A gateway that never ends an event fills no memory."""
    line = b"data: " + b"x" * 1_000_000 + b"\n"
    with pytest.raises(BadStream):
        list(events([line] * (MAX_EVENT // 1_000_000 + 1)))
