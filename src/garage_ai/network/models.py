"""What the network knows of its nodes and models."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal

from garage_ai.network.breaker import Breaker
from garage_ai.wire.frames import Route
from garage_ai.wire.ids import Digest, NodeId, SessionId
from garage_ai.wire.messages import ROUTES, Beat, ModelServed, SandboxKind

NodeState = Literal["joining", "ready", "busy", "draining", "paused", "suspect", "gone"]
Trust = Literal["unverified", "unsandboxed"]

_SANDBOXES: Final[dict[str, SandboxKind]] = {"podman": "podman", "docker": "docker"}
SESSIONS_REMEMBERED: Final = 8
SPEED_WEIGHT: Final = 0.2
"""Share of the newest stream in a replica's mean speed."""


@dataclass(frozen=True, slots=True)
class EnrolledNode:
    """A node as it stands in the books.

    `bare_allowed`: an administrator lets it serve without a whole sandbox.
    """

    id: NodeId
    member: str
    name: str
    region: str | None
    bare_allowed: bool = False


@dataclass(slots=True, eq=False)
class Replica:
    """One model on one node: what a request is sent to.

    `inflight` counts this gateway's own attempts from dispatch to release; `others` is what the
    node's last beat showed beyond them. `full_until` keeps a node that answered busy out of choice.
    """

    node: "Node"
    served: ModelServed
    inflight: int = 0
    others: int = 0
    full_until: float = 0.0
    measured_speed: float = 0.0

    @property
    def name(self) -> str:
        """The name it is asked for by."""
        return self.served.name

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

    def takes(self, route: Route) -> bool:
        """Tell whether the model can be asked this; an owner's own server must be asked to know."""
        routes = ROUTES.get(self.served.kind)
        return self.served.external or routes is None or route in routes

    @property
    def speed(self) -> float:
        """Tokens per second of one stream: measured here, else the node's word, else 0."""
        return self.measured_speed or self.served.decode_speed

    def ran_at(self, speed: float) -> None:
        """Take a stream's speed, in content events per second, into the mean of the latest."""
        known = self.measured_speed
        self.measured_speed = known + SPEED_WEIGHT * (speed - known) if known else speed


@dataclass(slots=True, eq=False)
class Node:
    """A node as it is seen now; times are the gateway's monotonic clock in seconds."""

    enrolled: EnrolledNode
    state: NodeState = "gone"
    session: SessionId | None = None
    beat: Beat | None = None
    last_beat: float = 0.0
    clock_skew: float = 0.0
    drain_asked: bool = False
    replicas_refused: bool = False
    replicas: dict[Digest, Replica] = field(default_factory=dict)
    retired: deque[SessionId] = field(default_factory=lambda: deque(maxlen=SESSIONS_REMEMBERED))
    breaker: Breaker = field(default_factory=Breaker)

    @property
    def id(self) -> NodeId:
        """Its id."""
        return self.enrolled.id

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
    def is_fenced(self) -> bool:
        """Whether its sandbox is whole, by its own word: a container whose limits hold."""
        return self.sandbox != "none" and self.beat is not None and self.beat.limits


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as shown to an operator; ages in seconds, memory in bytes."""

    id: NodeId
    name: str
    member: str
    region: str | None
    trust: Trust
    sandbox: SandboxKind
    limits: bool
    bare_allowed: bool
    state: NodeState
    reason: str
    models: tuple[ModelServed, ...]
    inflight: int
    last_beat_age: float | None
    clock_skew: float
    agent: str
    free_memory: int
    free_vram: int


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
    "EnrolledNode",
    "ModelView",
    "Node",
    "NodeState",
    "NodeView",
    "Replica",
    "Trust",
]
