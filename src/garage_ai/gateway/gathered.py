"""A transport that writes at once what one turn of the event loop had to say in pieces."""

import asyncio
from typing import Any, Final

from garage_ai.wire.writing import write_at_once

MOST: Final = 64 * 1024
"""Bytes that are gathered; more are written at once, so that a slow client is noticed."""


class Gathered(asyncio.Transport):
    """Gather what is written until the loop's next turn.

    An HTTP server writes an answer's head, body and end one after another; each write is a call of
    the kernel that wakes the client for a piece of an answer.
    """

    def __init__(self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._inner = inner
        self._loop = loop
        self._pieces: list[bytes | bytearray | memoryview] = []
        self._size = 0
        write_at_once(inner)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write soon, behind what was written before."""
        if not self._pieces:
            self._loop.call_soon(self.flush)
        self._pieces.append(data)
        self._size += len(data)
        if self._size > MOST:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        pieces, self._pieces, self._size = self._pieces, [], 0
        # A client may have hung up since; there is nobody to write to any more.
        if pieces and not self._inner.is_closing():
            self._inner.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def get_write_buffer_size(self) -> int:
        """Count the bytes that the client has not been sent."""
        return self._size + self._inner.get_write_buffer_size()

    def close(self) -> None:
        """Write what waits, then close."""
        self.flush()
        self._inner.close()

    def abort(self) -> None:
        """Close without writing."""
        self._pieces, self._size = [], 0
        self._inner.abort()

    def is_closing(self) -> bool:
        """Tell whether it is closed or about to be."""
        return self._inner.is_closing()

    def pause_reading(self) -> None:
        """Hear no more for now."""
        self._inner.pause_reading()

    def resume_reading(self) -> None:
        """Hear again."""
        self._inner.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Tell what the transport below knows of its socket."""
        return self._inner.get_extra_info(name, default)


__all__ = ["Gathered"]
