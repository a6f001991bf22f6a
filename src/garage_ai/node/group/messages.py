"""What the rigs of a group tell each other, over links that know who is at the other end.

MessagePack maps, so that fields can be added.
"""

from typing import Annotated, Final, Literal

import msgspec

from garage_ai.node.group.errors import BadPeer
from garage_ai.wire.ids import NodeId
from garage_ai.wire.messages import DigestText

MAX_MEMBERS: Final = 16
MAX_MESSAGE: Final = 64 * 1024
MAX_WORDS: Final = 500
"""Characters of a reason; whoever sends one cuts it (`reasons`)."""

MAX_HEARD: Final = 1 << 48
"""The latest epoch that a rig may have heard of, by its own word, which the next one goes beyond:
epochs themselves end much later, and no group ever comes there."""

MAX_AVOIDED: Final = 8
"""Teams of rigs that one rig has left alone."""

Id = Annotated[NodeId, msgspec.Meta(min_length=1, max_length=64)]
Team = Annotated[tuple[Id, ...], msgspec.Meta(max_length=MAX_MEMBERS)]
Words = Annotated[str, msgspec.Meta(max_length=MAX_WORDS)]
Address = Annotated[str, msgspec.Meta(max_length=64)]
Bytes = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Layers = Annotated[int, msgspec.Meta(ge=1, le=4096)]
Dtype = Literal["auto", "half", "bfloat16"]
Figure = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Epoch(msgspec.Struct, frozen=True, order=True):
    """One life of a gang. Later ones are greater; no two leaders ever have the same."""

    number: Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
    leader: Annotated[NodeId, msgspec.Meta(max_length=64)]


NEVER: Final = Epoch(0, NodeId(""))
"""Before the first."""


class Card(msgspec.Struct, frozen=True):
    """A card, as a planner looks at it: `room` in bytes that an engine may take."""

    name: Annotated[str, msgspec.Meta(max_length=200)]
    room: Bytes
    compute: tuple[int, int]


class Wished(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a rig's owner asks for, 0 where the plan is to decide.

    `context` in tokens, `slots` at a time, and cards in one tensor-parallel set.
    """

    context: Annotated[int, msgspec.Meta(ge=0, le=1 << 24)] = 0
    slots: Annotated[int, msgspec.Meta(ge=0, le=4096)] = 0
    tensor: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0


class Measured(msgspec.Struct, frozen=True):
    """What was measured to another rig: round trip in ms, and Gbit/s of the slower way."""

    node: Id
    rtt_ms: Figure
    gbit: Figure


class TunnelEnd(msgspec.Struct, frozen=True):
    """Where a rig's end of the group's own network is.

    `key` is WireGuard's public key, `host` and `port` where it is reached in the LAN, `address` its
    own inside.
    """

    key: Annotated[str, msgspec.Meta(min_length=44, max_length=44)]
    host: Address
    port: Port
    address: Address


class Member(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a rig is, by its own word: told again whenever it changes.

    `willing`: it lends now. `engaged`: the gang that it is part of. `highest`: the latest epoch it
    has heard of. A rig without `cards` computes on its processor; one without `tunnel` cannot be
    part of a gang of several. `agreed` is its signature under how its gang shares (`sharing`),
    made once its part runs: for the network, which alone can check it. `wish` is its owner's.
    `avoids` are teams that failed under its lead time after time, each with whom to do without
    first.
    """

    node: Id
    digest: DigestText
    willing: bool = False
    engaged: Epoch | None = None
    highest: Epoch = NEVER
    cards: Annotated[tuple[Card, ...], msgspec.Meta(max_length=16)] = ()
    links: Annotated[tuple[Measured, ...], msgspec.Meta(max_length=MAX_MEMBERS)] = ()
    tunnel: TunnelEnd | None = None
    agreed: Annotated[bytes, msgspec.Meta(max_length=64)] = b""
    wish: Wished = Wished()
    avoids: Annotated[tuple[Team, ...], msgspec.Meta(max_length=MAX_AVOIDED)] = ()


class Place(msgspec.Struct, frozen=True):
    """A rig's place in a gang; `tunnel` is None in a gang of one."""

    node: Id
    tunnel: TunnelEnd | None = None


class GangPlan(msgspec.Struct, frozen=True):
    """How a gang runs its model: `places` in the order of node ranks, the leader's first.

    `tensor` times `pipeline` processes, equally many on each rig. `context` in tokens, 0 for what
    the model's own; `slots` at a time, 0 for the usual. `layers` of each stage; none: as the engine
    deals them out itself. `dtype` is how all ranks keep numbers, as vLLM names it.
    """

    places: Annotated[tuple[Place, ...], msgspec.Meta(min_length=1, max_length=MAX_MEMBERS)]
    tensor: Annotated[int, msgspec.Meta(ge=1, le=64)]
    pipeline: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    context: Annotated[int, msgspec.Meta(ge=0, le=1 << 24)] = 0
    slots: Annotated[int, msgspec.Meta(ge=0, le=4096)] = 0
    layers: Annotated[tuple[Layers, ...], msgspec.Meta(max_length=64)] = ()
    dtype: Dtype = "auto"

    @property
    def leader(self) -> NodeId:
        """Whose engine answers for all of them."""
        return self.places[0].node

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """Who takes part, by rank."""
        return tuple(place.node for place in self.places)

    def rank_of(self, node: NodeId) -> int:
        """Give a rig's node rank. Raises: ValueError."""
        return self.nodes.index(node)


class Reserve(msgspec.Struct, frozen=True, tag="reserve"):
    """Leader: keep yourself free for this gang."""

    epoch: Epoch
    digest: DigestText
    plan: GangPlan


class Reserved(msgspec.Struct, frozen=True, tag="reserved"):
    """Rank: I do."""

    epoch: Epoch


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """Rank: I do not; `highest` is the latest epoch I have heard of."""

    epoch: Epoch
    highest: Epoch
    reason: Words


class Start(msgspec.Struct, frozen=True, tag="start"):
    """Leader: all are reserved, start your part."""

    epoch: Epoch


class Started(msgspec.Struct, frozen=True, tag="started"):
    """Rank: my part runs."""

    epoch: Epoch


class End(msgspec.Struct, frozen=True, tag="end"):
    """Leader: the gang is over, free your cards."""

    epoch: Epoch
    reason: Words = ""


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """Rank: nothing of that gang runs here any more."""

    epoch: Epoch
    reason: Words = ""


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Are you there?"""

    number: Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    """I am."""

    number: Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class Facts(msgspec.Struct, frozen=True, tag="facts"):
    """How I am."""

    member: Member


class Bulk(msgspec.Struct, frozen=True, tag="bulk"):
    """So many bytes of nothing follow; tell how fast they came."""

    size: Annotated[int, msgspec.Meta(ge=1, le=64 * 1024 * 1024)]


class Came(msgspec.Struct, frozen=True, tag="came"):
    """They came, with so many Gbit/s."""

    gbit: Figure


GangMessage = Reserve | Reserved | Refused | Start | Started | End | Ended
Message = GangMessage | Ping | Pong | Facts | Bulk | Came

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final[msgspec.msgpack.Decoder[Message]] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """Turn a message into bytes."""
    return _encoder.encode(message)


def decode(payload: bytes) -> Message:
    """Read a message. Raises: BadPeer."""
    try:
        message = _decoder.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadPeer("another rig sent what is not understood: {why}", why=error) from error
    heard = message.member if isinstance(message, Facts) else message
    if isinstance(heard, Member | Refused) and heard.highest.number > MAX_HEARD:
        why = f"epoch {heard.highest.number}"
        raise BadPeer("another rig sent what is not understood: {why}", why=why)
    return message


__all__ = [
    "MAX_AVOIDED",
    "MAX_HEARD",
    "MAX_MEMBERS",
    "MAX_MESSAGE",
    "MAX_WORDS",
    "NEVER",
    "Bulk",
    "Came",
    "Card",
    "End",
    "Ended",
    "Epoch",
    "Facts",
    "GangMessage",
    "GangPlan",
    "Measured",
    "Member",
    "Message",
    "Ping",
    "Place",
    "Pong",
    "Refused",
    "Reserve",
    "Reserved",
    "Start",
    "Started",
    "TunnelEnd",
    "Wished",
    "decode",
    "encode",
]
