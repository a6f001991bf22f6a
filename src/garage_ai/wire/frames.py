"""Frames: what gateway and node say to each other about one attempt.

A NATS message is one packet, at most 64 KiB: `[attempt, seq, [frame, …]]` in MessagePack. Each
frame is an array that begins with its kind. The sequence number counts packets in one direction,
from 0; credits and cancels stand outside it (`UNNUMBERED`) because repeating them is harmless.

    gateway → node   Open (Data…) End          the request, its body within the credit window
                     Credit, Cancel            each on a subject of its own
    node → gateway   Accepted | Refused        it holds a slot, or says why not
                     Credit                    for the request's body
                     Head (Data…) End | Fail   the engine's answer
                     Alive                     after half a second without a word, while it works
                     Leaving                   in its place when it will soon be stopped

Frames of an unknown kind are ignored, so that a newer peer can say more; fields appended to a known
kind are ignored too.
"""

from typing import Annotated, Final, Literal

import msgspec

from garage_ai.wire.errors import Malformed
from garage_ai.wire.ids import AttemptId, Digest, SessionId

VERSION: Final = 1
VERSIONS: Final = (VERSION,)

MAX_PACKET: Final = 64 * 1024
MAX_DATA: Final = 60 * 1024
"""Bytes of data in one packet; the rest of `MAX_PACKET` is room for the other frames."""
MAX_FRAMES: Final = 64
SIGN_SECONDS: Final = 5.0
"""How often a gateway tells a node that it still waits for an answer."""
UNNUMBERED: Final = -1

Short = Annotated[str, msgspec.Meta(max_length=128)]
Text = Annotated[str, msgspec.Meta(max_length=2000)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]

Route = Literal["chat", "completions", "embeddings"]
Priority = Literal["chat", "batch"]
"""Whether somebody waits for the answer as it comes, or it has time until the others are served."""
RefusalCode = Literal[
    "busy",
    "draining",
    "paused",
    "loading",
    "unknown_model",
    "unsupported",
    "wrong_session",
    "not_shared",
    "dedicated",
]
FailureCode = Literal[
    "engine_lost",
    "engine_timeout",
    "engine_protocol",
    "unknown_model",
    "cancelled",
    "yielded",
    "shutdown",
    "gateway_silent",
    "preempted",
]


class Open(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Begin an attempt: what to ask of which model, and where to answer.

    `content_length` is the body's size in bytes, `time_limit` the seconds the node may use. `salt`
    parts one member's prompts from the others' in an engine's cache; it names nobody. A gateway
    that knows none leaves it empty, and nothing is shared then. `asker` says who asks, as far as a
    node must know that does not serve everybody: `own`, `member` or `other`; else it is empty.
    `batch_age` marks one that has time, with the seconds since its first attempt: of these the
    youngest gives way (`preempted`) where one without finds no slot. `job` goes to the engine that
    was made for that job alone, and to no other; empty to one that is everybody's.
    """

    version: Count
    session: Short
    reply: Annotated[str, msgspec.Meta(max_length=256)]
    route: Short
    digest: Annotated[str, msgspec.Meta(max_length=80)]
    stream: bool
    content_length: Count
    time_limit: Annotated[float, msgspec.Meta(gt=0, le=86_400)]
    salt: Annotated[str, msgspec.Meta(max_length=64)] = ""
    asker: Short = ""
    batch_age: Annotated[float, msgspec.Meta(ge=0)] | None = None
    job: Annotated[str, msgspec.Meta(max_length=64)] = ""


class Data(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Carry bytes of a body; in a streamed answer whole server-sent events."""

    body: Annotated[bytes, msgspec.Meta(max_length=MAX_PACKET)]


class End(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """End a body; nothing follows in this direction."""


class Accepted(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Say that the attempt holds a slot of the engine."""


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Say that the attempt was not begun, and why; `retry_after` in seconds."""

    code: Short
    message: Text = ""
    retry_after: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 0.0


class Head(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Give the engine's HTTP status and content type."""

    status: Annotated[int, msgspec.Meta(ge=100, le=599)]
    content_type: Short


class Alive(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Say that the engine still works."""


class Credit(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Tell how many bytes of data were taken in all; cumulative, so repeats are harmless.

    A gateway that has had nothing to say to a node for `SIGN_SECONDS` repeats it, as its own sign
    of life: a node would otherwise work on for a gateway that died.
    """

    consumed: Count


class Fail(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """End an attempt that was accepted without a whole answer."""

    code: Short
    message: Text = ""


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """Ask the node to stop the attempt and free its slot."""

    reason: Short = ""


class Leaving(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Say that the engine still works, and that within seconds its owner will have it stopped.

    A gateway may let another node go on before that; one that does not know the frame ignores it.
    """


Frame = Open | Data | End | Accepted | Refused | Head | Alive | Credit | Fail | Cancel | Leaving
_KINDS: Final = range(1, 12)


class Packet(msgspec.Struct, frozen=True, array_like=True):
    """One NATS message: frames of one attempt, with their place in the order."""

    attempt: Annotated[AttemptId, msgspec.Meta(max_length=64)]
    seq: Annotated[int, msgspec.Meta(ge=UNNUMBERED, le=1 << 31)]
    frames: Annotated[tuple[Frame, ...], msgspec.Meta(max_length=MAX_FRAMES)]


class _Envelope(msgspec.Struct, frozen=True, array_like=True):
    """A packet whose frames are not yet looked into."""

    attempt: Annotated[AttemptId, msgspec.Meta(max_length=64)]
    seq: Annotated[int, msgspec.Meta(ge=UNNUMBERED, le=1 << 31)]
    frames: Annotated[tuple[msgspec.Raw, ...], msgspec.Meta(max_length=MAX_FRAMES)]


# msgspec raises RecursionError on deeply nested input and UnicodeDecodeError on bad text.
_UNDECODABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)

_encoder: Final = msgspec.msgpack.Encoder()
_packets: Final = msgspec.msgpack.Decoder(Packet)
_envelopes: Final = msgspec.msgpack.Decoder(_Envelope)
_frames: Final[msgspec.msgpack.Decoder[Frame]] = msgspec.msgpack.Decoder(Frame)
_arrays: Final[msgspec.msgpack.Decoder[list[msgspec.Raw]]] = msgspec.msgpack.Decoder(
    list[msgspec.Raw]
)
_integers: Final = msgspec.msgpack.Decoder(int)


def encode(packet: Packet) -> bytes:
    """Turn a packet into the payload of a NATS message."""
    return _encoder.encode(packet)


def decode(payload: bytes) -> Packet:
    """Read a packet, leaving out frames of unknown kinds.

    Raises: Malformed, and nothing else, whatever the bytes.
    """
    if len(payload) > MAX_PACKET:
        raise Malformed(f"a packet of {len(payload)} bytes; {MAX_PACKET} are allowed")
    try:
        return _packets.decode(payload)
    except _UNDECODABLE:
        return _decode_leniently(payload)


def _decode_leniently(payload: bytes) -> Packet:
    try:
        envelope = _envelopes.decode(payload)
        known = tuple(_frames.decode(raw) for raw in envelope.frames if _is_known(raw))
    except _UNDECODABLE as error:
        raise Malformed(str(error)[:200]) from error
    return Packet(envelope.attempt, envelope.seq, known)


def _is_known(raw: msgspec.Raw) -> bool:
    parts = _arrays.decode(raw)
    if not parts:
        raise Malformed("a frame without a kind")
    return _integers.decode(parts[0]) in _KINDS


def credit_packet(attempt: AttemptId, consumed: int) -> Packet:
    """Make the packet that tells a node how much was taken."""
    return Packet(attempt, UNNUMBERED, (Credit(consumed),))


def cancel_packet(attempt: AttemptId, reason: str) -> Packet:
    """Make the packet that stops an attempt."""
    return Packet(attempt, UNNUMBERED, (Cancel(reason),))


__all__ = [
    "MAX_DATA",
    "MAX_FRAMES",
    "MAX_PACKET",
    "SIGN_SECONDS",
    "UNNUMBERED",
    "VERSION",
    "VERSIONS",
    "Accepted",
    "Alive",
    "Cancel",
    "Credit",
    "Data",
    "Digest",
    "End",
    "Fail",
    "FailureCode",
    "Frame",
    "Head",
    "Leaving",
    "Open",
    "Packet",
    "Priority",
    "RefusalCode",
    "Refused",
    "Route",
    "SessionId",
    "cancel_packet",
    "credit_packet",
    "decode",
    "encode",
]
