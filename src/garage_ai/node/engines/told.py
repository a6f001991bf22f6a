"""An answer that was read before it goes on, because what it says decides what it is."""

from typing import Final

from garage_ai.node.engines.port import Answer

MAX_TOLD: Final = 1024 * 1024


class Told:
    """An answer that is there already."""

    __slots__ = ("at_end", "body", "content_type", "status")

    pace: Final = None

    def __init__(self, status: int, content_type: str, body: bytes) -> None:
        self.status = status
        self.content_type = content_type
        self.body = body
        self.at_end = False

    async def read(self) -> bytes:
        """Give all of it at once; empty after that."""
        if self.at_end:
            return b""
        self.at_end = True
        return self.body

    def close(self) -> None:
        """Do nothing: nobody else is part of it."""


async def read_whole(answer: Answer) -> Told:
    """Read an answer, up to a bound, and let go of it. Raises: EngineError."""
    said = bytearray()
    try:
        while len(said) < MAX_TOLD and (part := await answer.read()):
            said += part
    finally:
        answer.close()
    return Told(answer.status, answer.content_type, bytes(said))


__all__ = ["Told", "read_whole"]
