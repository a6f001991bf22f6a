"""Server-sent events as a gateway sends them: pure, and bounded."""

from collections.abc import Iterable, Iterator
from typing import Final

MAX_EVENT: Final = 4 * 1024 * 1024


class BadStream(Exception):
    """Not a stream of events, or one event without end."""

    code = "bad_stream"


def events(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Give the data of each event, from lines with or without their ends.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
    Raises: BadStream.
    """
    parts: list[bytes] = []
    size = 0
    for line in lines:
        text = line.rstrip(b"\r\n")
        if not text and parts:
            yield b"\n".join(parts)
            parts, size = [], 0
        elif text.startswith(b"data:"):
            value = text[5:]
            parts.append(value.removeprefix(b" "))
            size += len(value)
            if size > MAX_EVENT:
                raise BadStream(f"an event of more than {MAX_EVENT} bytes")


__all__ = ["MAX_EVENT", "BadStream", "events"]
