"""What a request is on its way through: asked, answered, recorded."""

from dataclasses import dataclass

from garage_ai.accounts import Key
from garage_ai.wire.frames import Route


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request, its body already cut to what engines may see.

    `body` is the JSON for the engine, its `model` still as the client said it. `include_usage`
    tells whether the client itself asked for usage in the stream.
    """

    request_id: str
    route: Route
    key: Key
    model: str
    body: bytes
    stream: bool
    include_usage: bool
    region: str | None = None
