"""Cut an engine's stream at the borders of its events, leaving every byte as it is. Pure."""

from typing import Final

from garage_ai.wire.frames import MAX_DATA

_BORDERS: Final = (b"\n\n", b"\n\r\n", b"\r\r")
_LONGEST_BORDER: Final = 3
_LAST_EVENTS: Final = (b"data: [DONE]\n\n", b"data: [DONE]\r\n\r\n", b"data:[DONE]\n\n")


class EventCutter:
    """Hold back the event that is not whole yet; one longer than `MAX_DATA` goes on in pieces."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        """Take what the engine sent and give the bytes up to the last border."""
        held = self._held
        # Nearly every read of a real engine holds whole events.
        if not held and chunk.endswith(b"\n\n"):
            return chunk
        fresh = max(0, len(held) - _LONGEST_BORDER + 1)
        held += chunk
        cut = _last_border(held, fresh)
        if not cut and len(held) > MAX_DATA:
            cut = len(held)
        whole = bytes(held[:cut])
        del held[:cut]
        return whole

    def rest(self) -> bytes:
        """Give what is held back; for the end of the stream."""
        rest = bytes(self._held)
        self._held.clear()
        return rest


def _last_border(text: bytearray, start: int) -> int:
    """Give the place behind the last empty line at or after `start`; 0 if there is none."""
    found = 0
    for border in _BORDERS:
        place = text.rfind(border, start)
        if place >= 0:
            found = max(found, place + len(border))
    return found


def says_done(events: bytes) -> bool:
    """Tell whether the last of these events says that the stream is over."""
    return events.endswith(_LAST_EVENTS)


__all__ = ["EventCutter", "says_done"]
