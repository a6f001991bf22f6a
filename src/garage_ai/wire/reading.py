"""Reading what a NATS server sends: whole messages by a short way, all else by nats-py's parser.

Nearly all that comes is messages without headers. nats-py looks for each with a pattern, keeps its
words in a dictionary and starts a coroutine for it, which takes longer than what is done with it.
"""

from collections.abc import Callable
from typing import Final

from nats.aio.client import Client
from nats.errors import ProtocolError
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

_MESSAGE: Final = b"MSG "
_WORDS: Final = (3, 4)
"""Subject, subscription, the subject for replies where there is one, and size."""

Take = Callable[[int, bytes, bytes, bytes], None]
"""Takes a message without headers: subscription, subject, subject for replies or b"", payload."""


class MessageParser(Parser):
    """nats-py's parser, which hands over at once the messages that are here to their end."""

    def __init__(self, client: Client, take: Take) -> None:
        super().__init__(client)
        self._take = take

    def reset(self) -> None:
        """Forget what came of an earlier connection."""
        super().reset()
        self._rest = b""

    async def parse(self, data: bytes = b"") -> None:
        """Take the next bytes. Raises: nats.errors.ProtocolError."""
        if self.buf or self.state != AWAITING_CONTROL_LINE:
            await super().parse(data)
            return
        if self._rest:
            data = self._rest + data
        data = data[self._take_messages(data) :]
        is_message = data.startswith(_MESSAGE[: len(data)])
        self._rest = data if is_message else b""
        if not is_message:
            await super().parse(data)

    def _take_messages(self, data: bytes) -> int:
        """Hand over the messages at the beginning that are whole; give their length."""
        start = 0
        while data.startswith(_MESSAGE, start):
            end = data.find(b"\r\n", start)
            if end < 0:
                break
            words = data[start + len(_MESSAGE) : end].split(b" ")
            if len(words) not in _WORDS or not words[-1].isdigit() or not words[1].isdigit():
                raise ProtocolError("nats: malformed MSG")
            body, size = end + 2, int(words[-1])
            if len(data) < body + size + 2:
                break
            reply = words[2] if len(words) == 4 else b""
            self._take(int(words[1]), words[0], reply, data[body : body + size])
            start = body + size + 2
        return start


__all__ = ["MessageParser", "Take"]
