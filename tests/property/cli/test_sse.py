"""Server-sent events, whatever comes."""

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st

from garage_ai.cli.sse import BadStream, events


@given(st.lists(st.binary(max_size=200), max_size=50))
def test_any_bytes_end_in_events_or_in_bad_stream(lines: list[bytes]) -> None:
    """Garbage never ends in an error of another kind."""
    with contextlib.suppress(BadStream):
        assert all(isinstance(event, bytes) for event in events(lines))


@given(st.lists(st.dictionaries(st.text(), st.integers()), max_size=20))
def test_what_is_written_is_read(sent: list[dict[str, int]]) -> None:
    """JSON sent one event at a time comes back as it was."""
    lines = [part for each in sent for part in (f"data: {json.dumps(each)}\n".encode(), b"\n")]
    assert [json.loads(event) for event in events(lines)] == sent
