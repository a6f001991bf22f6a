"""Messages outside a request: heartbeats, control, renewal.

MessagePack maps, so that fields can be added.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeVar, get_args

import msgspec

from garage_ai.wire.errors import Malformed
from garage_ai.wire.frames import Count, Route, Short, Text
from garage_ai.wire.ids import SessionId

BEAT_INTERVAL: Final = 5.0
"""Seconds between two heartbeats; a change of state is told at once besides."""

MAX_MODELS: Final = 64
MAX_MESSAGE: Final = 64 * 1024
MAX_GANG: Final = 4 * 1024
"""Longest document of a gang: sixteen rigs with the longest names take 2.4 KB."""

ModelKind = Literal["chat", "completion", "embedding"]
ROUTES: Final[Mapping[str, frozenset[Route]]] = {
    "chat": frozenset({"chat", "completions"}),
    "completion": frozenset({"completions"}),
    "embedding": frozenset({"embeddings"}),
}
"""What each kind of model can be asked."""

AgentState = Literal["joining", "ready", "dedicated", "draining", "paused", "gone"]
SandboxKind = Literal["none", "podman", "docker"]
EngineState = Literal["stopped", "loading", "ready", "failed"]
Share = Literal["own", "members", "all"]
Asker = Literal["own", "member", "other"]
SHARED_WITH: Final[Mapping[Share, frozenset[Asker]]] = {
    "own": frozenset({"own"}),
    "members": frozenset({"own", "member"}),
    "all": frozenset({"own", "member", "other"}),
}
"""Whose requests a node serves: its own member's, any member's, everybody's."""

Measure = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
DigestText = Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]


class ModelServed(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model a node offers.

    `context` in tokens; `external` marks a server the owner runs himself. Speeds are the node's
    own word, tokens per second of one stream, 0 when not measured. Our agent keeps no queue: beyond
    its slots it refuses as `busy`, and `waiting` is what its engine says of its own. `ready_in` is
    a guess, in seconds, how long the engine still loads; 0 when there is none. `batch` of those
    that run would give way to a chat; None where the agent is too old to let any.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    digest: DigestText
    kind: Short = "chat"
    context: Count = 0
    slots: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 1
    running: Count = 0
    waiting: Count = 0
    engine: Short = "ready"
    external: bool = False
    prefill_speed: Measure = 0.0
    decode_speed: Measure = 0.0
    ready_in: Measure = 0.0
    batch: Count | None = None


class EngineImage(msgspec.Struct, frozen=True, omit_defaults=True):
    """The image of an engine's container, by the node's own word.

    `digest` is the registry's for one that was pulled, its id for one that was built on the node.
    `content` names what a built one was built of (the same files, the same name, on any PC), None
    for a pulled one; `base` is what it stands on, with its digest where it has one.
    """

    digest: DigestText
    content: DigestText | None = None
    base: Annotated[str, msgspec.Meta(max_length=300)] = ""


class Energy(msgspec.Struct, frozen=True, omit_defaults=True):
    """What lending draws, by the node's own meters: watts now, kWh of this month; None unmetered.

    `spot` is the price of this hour in kronor per kWh without tax and fees, of `area`, SE1 to SE4.
    """

    watts: Measure | None = None
    kwh: Measure | None = None
    spot: Annotated[float, msgspec.Meta(ge=-1000, le=1000)] | None = None
    area: Short = ""


class Beat(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node's heartbeat.

    `seq` grows within a session; `sent_at` is the node's clock in seconds since 1970 and is used
    for nothing but telling the owner that it is wrong. `sandbox` says in which program's container
    the engine runs, `limits` whether its bounds hold there and `image` what it is made from: the
    node's own word, as all of this. `free_memory` in bytes, and `free_vram` in those of all its
    graphics cards together: 0 where none tells. `share` says whose requests it serves: a word that
    is not known is taken for the narrowest. `gang` says how the rigs share whose gang this one
    leads: a document with a version of its own (`wire/gangs.py`). `dedicates` tells that it would
    make an engine for one job alone, and `job` for which one it has, or is about to.
    """

    session: Annotated[SessionId, msgspec.Meta(min_length=1, max_length=64)]
    seq: Count
    sent_at: Measure
    state: Short
    models: Annotated[tuple[ModelServed, ...], msgspec.Meta(max_length=MAX_MODELS)] = ()
    versions: Annotated[tuple[int, ...], msgspec.Meta(max_length=16)] = (1,)
    agent: Short = ""
    sandbox: Short = "none"
    limits: bool = False
    free_memory: Count = 0
    free_vram: Count = 0
    reason: Text = ""
    share: Short = "all"
    image: EngineImage | None = None
    energy: Energy | None = None
    gang: Annotated[bytes, msgspec.Meta(max_length=MAX_GANG)] = b""
    dedicates: bool = False
    job: Annotated[str, msgspec.Meta(max_length=64)] = ""


class Drain(msgspec.Struct, frozen=True, tag="drain"):
    """Finish what runs, take nothing new; `reason` is shown to the owner."""

    reason: Text = ""


class Undrain(msgspec.Struct, frozen=True, tag="undrain"):
    """Take work again."""


class BeatNow(msgspec.Struct, frozen=True, tag="beat_now"):
    """Say how you are, at some moment within so many seconds: a gateway has begun to listen.

    The time lets a thousand nodes not answer as one.
    """

    within: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0


class Superseded(msgspec.Struct, frozen=True, tag="superseded"):
    """Tell the session named that a newer one of the same identity has taken its place."""

    session: Short


class Renewed(msgspec.Struct, frozen=True, tag="renewed"):
    """Give a node its new JWT."""

    jwt: Annotated[str, msgspec.Meta(max_length=16_384)]


RefusedCode = Literal[
    "member_suspended", "agent_too_old", "sandbox_needed", "image_not_approved", "rig_refused"
]
REFUSED: Final[frozenset[str]] = frozenset(get_args(RefusedCode))
"""Codes of notices that a node which is ready gets no work, and why."""

ADMITTED: Final = "admitted"
"""The code of the notice that it gets work again."""


class Notice(msgspec.Struct, frozen=True, tag="notice"):
    """Tell the owner something, with a stable code: a refused model name, a wrong clock."""

    code: Short
    message: Text


JobText = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]+$", max_length=64)]


class Dedicate(msgspec.Struct, frozen=True, tag="dedicate"):
    """Make an engine for one job alone, and serve nothing else; or go on with that for so long.

    It ends by itself after `seconds` without another. `asker` says whose job it is, as in `Open`. A
    node that does not want to stays as it is: its next beat tells.
    """

    job: JobText
    digest: DigestText
    seconds: Annotated[float, msgspec.Meta(gt=0, le=600)]
    asker: Short = ""


class Undedicate(msgspec.Struct, frozen=True, tag="undedicate"):
    """Remove the engine that was made for a job, and serve everybody again."""

    job: JobText


Control = Drain | Undrain | BeatNow | Superseded | Renewed | Notice | Dedicate | Undedicate


class Renew(msgspec.Struct, frozen=True):
    """A node's request for a new JWT; `session` keeps a stale agent from renewing."""

    session: Short


_T = TypeVar("_T")
_encoder: Final = msgspec.msgpack.Encoder()
_beats: Final = msgspec.msgpack.Decoder(Beat)
_controls: Final[msgspec.msgpack.Decoder[Control]] = msgspec.msgpack.Decoder(Control)
_renewals: Final = msgspec.msgpack.Decoder(Renew)


def encode_message(message: Beat | Control | Renew) -> bytes:
    """Turn a message into the payload of a NATS message."""
    return _encoder.encode(message)


def decode_beat(payload: bytes) -> Beat:
    """Read a heartbeat. Raises: Malformed."""
    return _decode(_beats, payload)


def decode_control(payload: bytes) -> Control | None:
    """Read a control message; None for one of a kind this version does not know.

    Raises: Malformed.
    """
    try:
        return _decode(_controls, payload)
    except Malformed:
        tag = _decode(_tags, payload).type
        if tag in _CONTROL_TAGS:
            raise
        return None


def decode_renew(payload: bytes) -> Renew:
    """Read a renewal. Raises: Malformed."""
    return _decode(_renewals, payload)


class _Tagged(msgspec.Struct, frozen=True):
    type: Short


_tags: Final = msgspec.msgpack.Decoder(_Tagged)
_CONTROL_TAGS: Final = frozenset(
    {*("drain", "undrain", "beat_now", "superseded", "renewed", "notice"), "dedicate", "undedicate"}
)


def _decode(decoder: "msgspec.msgpack.Decoder[_T]", payload: bytes) -> _T:
    if len(payload) > MAX_MESSAGE:
        raise Malformed(f"a message of {len(payload)} bytes; {MAX_MESSAGE} are allowed")
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(str(error)[:200]) from error
