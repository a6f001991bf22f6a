"""What a request is on its way through: asked, answered, recorded."""

import msgspec

from garage_ai.accounts import Key
from garage_ai.wire.frames import Priority, Route


class Bound(msgspec.Struct, frozen=True):
    """How much a request allows its answer to be, and what of it is not billed by its text.

    So many `answers` of so many `tokens` each; None where the client leaves that to the model's
    context. No answers: the route only reads. Each of the `prompts` has a context of its own.
    `media` are pictures, sounds and files, billed by the piece.
    """

    tokens: int | None = None
    answers: int = 1
    prompts: int = 1
    media: int = 0


class Call(msgspec.Struct, frozen=True):
    """One authenticated request, its body already cut to what engines may see.

    `body` is the JSON for the engine, its `model` still as the client said it. `include_usage`
    tells whether the client itself asked for usage in the stream. `bound` is how much the answer
    may be. `caller_id` is what the client calls the request. A `batch` call has time: it is served
    on what `chat` leaves over; with a `job`, in the engines that were made for that alone.
    """

    request_id: str
    route: Route
    key: Key
    model: str
    body: bytes
    stream: bool
    include_usage: bool
    region: str | None = None
    bound: Bound = Bound()
    caller_id: str | None = None
    priority: Priority = "chat"
    job: str = ""
