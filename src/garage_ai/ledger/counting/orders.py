"""What the gateway and the process that counts say to each other: packets of a length and a body.

Orders are answered in turn, each by a count or a refusal.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final

import msgspec

from garage_ai.wire.frames import Route

LENGTH: Final = struct.Struct(">I")


class Count(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Tokens of a request's prompt, and of each text of its answer.

    `exact` tells that an engine of the model would say the same of the prompt.
    """

    prompt: int
    each: tuple[int, ...]
    exact: bool


class Load(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Make a model's tokenizer ready, and forget what was known of it."""

    digest: str


class Ask(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Count a request and the texts of its answer."""

    digest: str
    route: Route
    body: bytes
    texts: tuple[str, ...]


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """An order that gave no count, and the error's code."""

    code: str


Order = Load | Ask

_encoder: Final = msgspec.msgpack.Encoder()
_orders: Final = msgspec.msgpack.Decoder(list[Load | Ask])
_replies: Final = msgspec.msgpack.Decoder(Count | Refused)


def packed(message: Sequence[Order] | Count | Refused) -> bytes:
    """Write a packet."""
    body = _encoder.encode(message)
    return LENGTH.pack(len(body)) + body


def read_orders(source: BinaryIO) -> Iterator[list[Order]]:
    """Give orders as they come, some at a time, until the other side is gone."""
    while len(head := source.read(LENGTH.size)) == LENGTH.size:
        yield _orders.decode(source.read(LENGTH.unpack(head)[0]))


class Replies:
    """Replies out of the bytes in which they come."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Count | Refused]:
        """Give those that are whole by now. Raises: msgspec.MsgspecError."""
        data, at = self._rest + data, 0
        while len(data) - at >= LENGTH.size:
            end = at + LENGTH.size + LENGTH.unpack_from(data, at)[0]
            if end > len(data):
                break
            yield _replies.decode(data[at + LENGTH.size : end])
            at = end
        self._rest = data[at:]


__all__ = [
    "LENGTH",
    "Ask",
    "Count",
    "Load",
    "Order",
    "Refused",
    "Replies",
    "packed",
    "read_orders",
]
