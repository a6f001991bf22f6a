"""An answer on its way to the client, and the account of it."""

from collections.abc import Callable, Sequence
from typing import Final, Self

import msgspec

from garage_ai.network import Answer
from garage_ai.serving.errors import ServingError

OK: Final = "ok"
CLIENT_GONE: Final = "client_closed"

_encoder: Final = msgspec.json.Encoder()


def error_event(error: ServingError) -> bytes:
    """Write the event that ends a stream which cannot go on; no `[DONE]` follows it."""
    body = {
        "error": {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
        }
    }
    return b"data: " + _encoder.encode(body) + b"\n\n"


class Reply:
    """What a node answers: its bytes for the client, as they come.

    `finish` is told exactly once how it ended: `ok`, what `aclose` says, or an error's code.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        stream: bool,
        finish: Callable[[str], None],
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        replica = answer.replica
        self.status = 200
        self.content_type = "text/event-stream" if stream else "application/json"
        self.node: str = replica.node.id
        self.region = replica.node.enrolled.region or "none"
        self.trust: str = replica.node.trust
        self.headers = headers
        self._answer = answer
        self._stream = stream
        self._finish: Callable[[str], None] | None = finish

    def __aiter__(self) -> Self:
        """Give the bytes; a stream that breaks ends with an error event.

        Raises: ServingError for a plain answer that breaks.
        """
        return self

    async def __anext__(self) -> bytes:
        if self._finish is None:
            raise StopAsyncIteration
        try:
            return await anext(self._answer)
        except StopAsyncIteration:
            self._end(OK)
            raise
        except ServingError as error:
            self._end(error.code)
            if not self._stream:
                raise
            return error_event(error)

    async def aclose(self, outcome: str = CLIENT_GONE) -> None:
        """Stop, as a rule because the client is gone; harmless when the answer is whole."""
        if self._finish is not None:
            self._answer.cancel()
            self._end(outcome)

    def _end(self, outcome: str) -> None:
        finish, self._finish = self._finish, None
        if finish is not None:
            finish(outcome)
