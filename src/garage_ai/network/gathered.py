"""A plain answer that is asked for as a stream, so that what was said outlasts its node.

That is how a batch request goes on where it stopped when its slot went to a chat. The events are
put together here, at its end; where text alone cannot carry an answer it is asked for whole.
"""

import asyncio
from typing import Any, Final

import msgspec

from garage_ai.network.answer import Answer, Request
from garage_ai.network.complaint import UNDECODABLE
from garage_ai.network.prefill import Prefill, Unsound
from garage_ai.network.replies import Seen, objects
from garage_ai.wire.whole import ODD, Whole

_STREAMED: Final = {"stream": True, "stream_options": {"include_usage": True}}
_events: Final = msgspec.json.Decoder(dict[str, Any])
_encoder: Final = msgspec.json.Encoder()


def as_stream(request: Request) -> Request | None:
    """Ask for the same answer as a stream; None where another node could not go on with it."""
    if request.stream or request.route == "embeddings":
        return None
    try:
        Prefill(request.route, request.body).check()
        body = _encoder.encode(objects.decode(request.body) | _STREAMED)
    except (Unsound, *UNDECODABLE):
        return None
    return msgspec.structs.replace(request, body=body, stream=True, include_usage=True)


class GatheredAnswer(Answer):
    """An answer that is given whole, when it is."""

    _body: bytes | None = None
    _size = 0

    async def gather(self) -> None:
        """Wait for all of it. Raises: DispatchError, Unsound where it makes no plain answer."""
        chat = self._request.route == "chat"
        whole, event = Whole(chat=chat), b""
        try:
            while True:
                for event in (await super().__anext__()).split(b"\n\n"):
                    if event.startswith(b"data: {"):
                        whole.add(_events.decode(event[6:]))
        except StopAsyncIteration:
            pass
        except asyncio.CancelledError:
            self.cancel()
            raise
        except (*UNDECODABLE, *ODD):
            self.cancel()
            raise Unsound("the events make no answer") from None
        if not whole.finished:
            raise Unsound("the answer has no end")
        self._body = _encoder.encode(whole.answer())
        self._size = len(self._body)

    @property
    def seen(self) -> Seen:
        """What was seen of it; the bytes are those of the plain answer."""
        return msgspec.structs.replace(super().seen, bytes_out=self._size)

    async def __anext__(self) -> bytes:
        body, self._body = self._body, None
        if body is None:
            raise StopAsyncIteration
        return body


__all__ = ["GatheredAnswer", "as_stream"]
