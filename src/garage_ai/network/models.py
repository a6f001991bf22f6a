"""What the network knows of its nodes and models."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

import msgspec

from garage_ai.network.breaker import Breaker
from garage_ai.network.pace import CLAIMS, CLAIMS_PER_SECOND, Pace
from garage_ai.wire.frames import Priority, Route
from garage_ai.wire.ids import Digest, NodeId, SessionId
from garage_ai.wire.messages import (
    ROUTES,
    SHARED_WITH,
    Beat,
    Energy,
    EngineImage,
    ModelServed,
    RefusedCode,
    SandboxKind,
    Share,
)

NodeState = Literal[
    "joining", "ready", "dedicated", "busy", "draining", "paused", "suspect", "gone"
]
Trust = Literal["unverified", "unsandboxed"]
ImageState = Literal["built", "approved", "pending", "revoked", "unknown"]
"""`built` on the node of what was installed with hashes; `unknown` where the node says nothing."""


_SANDBOXES: Final[dict[str, SandboxKind]] = {"podman": "podman", "docker": "docker"}
SESSIONS_REMEMBERED: Final = 8
BUSY_SECONDS: Final = 1.0
"""A node that answered busy is left alone so long, or until its next beat."""
SPEED_WEIGHT: Final = 0.2
"""Share of the newest stream in a replica's mean speed and time to the first token."""


@dataclass(frozen=True, slots=True)
class EnrolledNode:
    """A node as it stands in the books.

    `bare_allowed`: an administrator lets it serve without a whole sandbox. `suspended`: its member
    is, so it gets no work. `public_key` is the one that it has now.
    """

    id: NodeId
    member: str
    name: str
    region: str | None
    bare_allowed: bool = False
    suspended: bool = False
    public_key: str = ""


_SHARES: Final[dict[str, Share]] = {share: share for share in SHARED_WITH}


def share_of(beat: Beat) -> Share:
    """Read whom a node serves; its word only narrows, so one that is not known is the least."""
    return _SHARES.get(beat.share, "own")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a node that is enrolled gets no work, for its owner to read."""

    code: RefusedCode
    message: str


@dataclass(slots=True, eq=False)
class Replica:
    """One model on one node: what a request is sent to.

    `inflight` counts this gateway's own attempts from dispatch to release; `others` is what the
    node's last beat showed beyond them. `batch` and `others_batch` are those of each that would
    give way to a chat. `full_until` keeps a node that answered busy to a chat out of choice,
    `batch_full_until` out of that for batch.
    """

    node: "Node"
    served: ModelServed
    inflight: int = 0
    others: int = 0
    batch: int = 0
    others_batch: int = 0
    full_until: float = 0.0
    batch_full_until: float = 0.0
    measured_speed: float = 0.0
    measured_ttft: float = 0.0

    @property
    def name(self) -> str:
        """The name it is asked for by."""
        return self.served.name

    @property
    def target(self) -> "Target":
        """What is asked of it."""
        return Target(self.served.name, self.node.job)

    @property
    def digest(self) -> Digest:
        """The manifest's digest."""
        return Digest(self.served.digest)

    @property
    def load(self) -> int:
        """Requests on it now, as far as can be known."""
        return self.inflight + self.others

    @property
    def has_room(self) -> bool:
        """Tell whether a slot is free."""
        return self.inflight + self.others < self.served.slots

    @property
    def gives_way(self) -> bool:
        """Tell whether a chat gets a slot though none is free, as batch requests hold some."""
        load, slots = self.inflight + self.others, self.served.slots
        return load - self.batch - self.others_batch < slots <= load

    def takes(self, route: Route) -> bool:
        """Tell whether the model can be asked this; an owner's own server must be asked to know."""
        routes = ROUTES.get(self.served.kind)
        return self.served.external or routes is None or route in routes

    def said_busy(self, priority: Priority, now: float) -> bool:
        """Take the node's word that it has no slot; tell whether it is to be left for a while.

        Where the chat is known that was quicker, its end is what a batch request waits for.
        """
        if priority == "batch" and self.load > self.served.slots:
            return False
        self.batch_full_until = now + BUSY_SECONDS
        if priority == "chat":
            self.full_until = self.batch_full_until
        return True

    @property
    def speed(self) -> float:
        """Tokens per second of one stream: measured here, else the node's word, else 0."""
        return self.measured_speed or self.served.decode_speed

    def ran_at(self, speed: float | None, ttft: float | None) -> None:
        """Take a stream into the means of the latest, as far as it tells.

        `speed` in content events per second, `ttft` in seconds to the first of them.
        """
        if speed is not None:
            self.measured_speed = _mean(self.measured_speed, speed)
        if ttft is not None:
            self.measured_ttft = _mean(self.measured_ttft, ttft)


def _mean(known: float, newest: float) -> float:
    return known + SPEED_WEIGHT * (newest - known) if known else newest


class Target(NamedTuple):
    """What a request is put to: a model, in everybody's engines or in those made for one job."""

    model: str
    job: str = ""


class Life(msgspec.Struct, frozen=True):
    """A node from the moment when it came into choice until it comes into it again."""

    node: NodeId
    number: int


@dataclass(slots=True, eq=False)
class Node:
    """A node as it is seen now; times are the gateway's monotonic clock in seconds."""

    enrolled: EnrolledNode
    id: NodeId = field(init=False)
    """Its id; a request asks for it nine times."""
    state: NodeState = "gone"
    session: SessionId | None = None
    beat: Beat | None = None
    last_beat: float = 0.0
    clock_skew: float = 0.0
    drain_asked: bool = False
    refused: Refusal | None = None
    risen: int = 0
    """How often it came into choice. Who failed and rose again may be asked again."""
    share: Share = "all"
    """Whom its owner lends it to, by its last beat."""
    gang: bytes = b""
    """How rigs share what it earns, as it said when it last served; empty for a node on its own."""
    job: str = ""
    """The one job that it serves, or is about to, by its last beat; empty for everybody's."""
    replicas: dict[Digest, Replica] = field(default_factory=dict)
    retired: deque[SessionId] = field(default_factory=lambda: deque(maxlen=SESSIONS_REMEMBERED))
    breaker: Breaker = field(default_factory=Breaker)
    pace: Pace = field(default_factory=Pace)
    """How often it is heard: a beat costs the gateway more than it costs the node."""
    claims: Pace = field(default_factory=lambda: Pace(CLAIMS, CLAIMS_PER_SECOND))
    """How often the books are asked for names of its own: it may say others in each beat."""

    def __post_init__(self) -> None:
        """Take its id, which stays."""
        self.id = self.enrolled.id

    @property
    def life(self) -> Life:
        """Its present life."""
        return Life(self.id, self.risen)

    @property
    def trust(self) -> Trust:
        """How far its engine is fenced in, by the node's own word."""
        return "unsandboxed" if self.sandbox == "none" else "unverified"

    @property
    def sandbox(self) -> SandboxKind:
        """What fences its engine in, by its own word; a word we do not know is none."""
        said = self.beat.sandbox if self.beat is not None else "none"
        return _SANDBOXES.get(said, "none")

    @property
    def image(self) -> EngineImage | None:
        """What its engine's container is made from, by its own word."""
        return self.beat.image if self.beat is not None else None

    @property
    def is_fenced(self) -> bool:
        """Whether its sandbox is whole, by its own word: a container whose limits hold."""
        return self.sandbox != "none" and self.beat is not None and self.beat.limits


class Measured(NamedTuple):
    """A replica as this gateway sees it, 0 while it has not: tokens per second of one stream, TTFT.

    Times in seconds, the line to the node among them.
    """

    speed: float
    ttft: float


class Census(NamedTuple):
    """How many nodes are in each state, of those that have any, and how many requests run."""

    states: Mapping[NodeState, int]
    inflight: int


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as shown to an operator; ages in seconds, memory in bytes.

    `measured` is what this gateway saw since the node's replicas came up.
    """

    id: NodeId
    name: str
    member: str
    region: str | None
    trust: Trust
    sandbox: SandboxKind
    limits: bool
    bare_allowed: bool
    share: Share
    image: EngineImage | None
    image_state: ImageState
    state: NodeState
    reason: str
    refused: Refusal | None
    models: tuple[ModelServed, ...]
    inflight: int
    last_beat_age: float | None
    clock_skew: float
    agent: str
    free_memory: int
    free_vram: int
    energy: Energy | None = None
    public_key: str = ""
    measured: Mapping[Digest, Measured] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model as shown to a client; `nodes` counts those that serve it now."""

    name: str
    digest: Digest
    kind: str
    context: int
    nodes: int
    slots: int
    alias_of: str | None = None


__all__ = [
    "SESSIONS_REMEMBERED",
    "Census",
    "EnrolledNode",
    "ImageState",
    "Life",
    "Measured",
    "ModelView",
    "Node",
    "NodeState",
    "NodeView",
    "Refusal",
    "Replica",
    "Target",
    "Trust",
    "share_of",
]
