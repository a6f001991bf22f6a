"""What the edge needs of the rooms below it, as protocols: it joins them and decides nothing."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from garage_ai.accounts import (
    EnrolmentToken,
    ExternalModel,
    IssuedKey,
    IssuedToken,
    Key,
    KeyId,
    Member,
    MemberId,
    NodeBenchmark,
    Scope,
    TokenId,
)
from garage_ai.gateway.body import BodyLimits
from garage_ai.gateway.metrics import Metrics
from garage_ai.network.models import EnrolledNode, ModelView, NodeView
from garage_ai.serving.models import Call
from garage_ai.storage import Grouping, UsagePage, UsageTotal
from garage_ai.wire.benchmarks import SignedBenchmark
from garage_ai.wire.enrolment import Enrolled, EnrolRequest, FreshJwt, Proof
from garage_ai.wire.identity import KeyRotation
from garage_ai.wire.ids import NodeId


class Reply(Protocol):
    """An answer that has begun."""

    status: int
    content_type: str
    node: str
    region: str
    trust: str

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the bytes. Raises: ServingError for a plain answer that breaks."""
        ...

    async def aclose(self) -> None:
        """Stop the work on the node; idempotent."""


class Serving(Protocol):
    """Requests."""

    async def open(self, call: Call) -> Reply:
        """Return when the answer begins. Raises: ServingError."""
        ...


class Members(Protocol):
    """Members."""

    async def add(self, name: str) -> Member:
        """Make a member. Raises: InvalidField."""
        ...

    async def list(self) -> list[Member]:
        """Give all members."""
        ...


class Keys(Protocol):
    """API keys."""

    def authenticate(self, presented: str) -> Key:
        """Tell whose key it is. Raises: InvalidKey."""
        ...

    async def create(
        self,
        name: str,
        member: MemberId = ...,
        scopes: Iterable[Scope] = ...,
        *,
        region: str | None = None,
        idempotency_key: str | None = None,
    ) -> IssuedKey:
        """Make a key. Raises: AccountError."""
        ...

    async def revoke(self, key: KeyId) -> Key:
        """Revoke a key. Raises: KeyNotFound."""
        ...

    async def list(self) -> list[Key]:
        """Give all keys."""
        ...


class Tokens(Protocol):
    """Enrolment tokens."""

    async def create(
        self,
        member: MemberId = ...,
        region: str | None = None,
        ttl: timedelta = ...,
        *,
        bare_allowed: bool = False,
        idempotency_key: str | None = None,
    ) -> IssuedToken:
        """Make a token. Raises: AccountError."""
        ...

    async def revoke(self, token: TokenId) -> EnrolmentToken:
        """Make a token useless. Raises: TokenNotFound."""
        ...

    async def list(self) -> list[EnrolmentToken]:
        """Give all tokens."""
        ...


class Claims(Protocol):
    """Names of models that members serve with engines of their own."""

    async def approve(self, name: str, member: MemberId) -> ExternalModel:
        """Let a member serve under a name. Raises: ClaimNotFound."""
        ...

    async def list(self) -> list[ExternalModel]:
        """Give all claims."""
        ...


class Network(Protocol):
    """Nodes and models as they are now; an unknown node is a KeyError."""

    @property
    def ready(self) -> bool:
        """Whether some node serves a model."""
        ...

    def nodes(self) -> Sequence[NodeView]:
        """Show all nodes."""
        ...

    def models(self) -> Sequence[ModelView]:
        """Show the models that are served."""
        ...

    def model(self, name: str) -> ModelView | None:
        """Show one model, by name or alias."""
        ...

    def enrol(self, node: EnrolledNode) -> None:
        """Let a node in that was just enrolled."""

    def remove(self, node_id: NodeId) -> None:
        """Forget a node."""

    def drain(self, node_id: NodeId, reason: str) -> None:
        """Let a node finish and take nothing new. Raises: KeyError."""

    def undrain(self, node_id: NodeId) -> None:
        """Let a node work again. Raises: KeyError."""


class Enrolment(Protocol):
    """How nodes come, change their keys and go; its errors have codes of `PROBLEMS`."""

    def nonce(self) -> str:
        """Make a nonce to sign."""
        ...

    async def enrol(self, request: EnrolRequest) -> Enrolled:
        """Let a node in."""
        ...

    async def renew_by_proof(self, proof: Proof) -> FreshJwt:
        """Give a node a new JWT against a proof of its key."""
        ...

    async def rotate(self, rotation: KeyRotation) -> FreshJwt:
        """Put a new key in a node's place."""
        ...

    async def benchmark(self, signed: SignedBenchmark) -> str:
        """Check who measured, and give the key that signed."""
        ...

    async def leave(self, proof: Proof) -> None:
        """Let a node go at its own wish."""

    async def admit(self, node: NodeId) -> None:
        """Let a node serve without a whole sandbox."""

    async def remove(self, node: NodeId) -> bool:
        """Cut a node off for good; True if the servers have done so already."""
        ...


class Benchmarks(Protocol):
    """What nodes measured of themselves."""

    async def record(self, signed: SignedBenchmark, public_key: str) -> NodeBenchmark:
        """Keep a measurement."""
        ...

    async def latest(self, node: NodeId | None = None) -> Mapping[NodeId, NodeBenchmark]:
        """Give the newest of each node, or of one."""
        ...


class Usage(Protocol):
    """What was used."""

    async def page(self, limit: int, before: int | None) -> UsagePage:
        """List records, newest first."""
        ...

    async def totals(
        self, since: datetime | None, until: datetime | None, by: Grouping
    ) -> Sequence[UsageTotal]:
        """Add records up."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that lives as long as the app does.

    `ca` is the network's own CA in PEM, None when certificates are public ones; `ca_fingerprint`
    (sha256 in hex) is appended to token secrets so that nodes can pin it.
    """

    serving: Serving
    members: Members
    keys: Keys
    tokens: Tokens
    claims: Claims
    network: Network
    enrolment: Enrolment
    benchmarks: Benchmarks
    usage: Usage
    metrics: Metrics
    limits: BodyLimits = field(default_factory=BodyLimits)
    cors_origins: tuple[str, ...] = ()
    ca: str | None = None
    ca_fingerprint: str | None = None


__all__ = [
    "Benchmarks",
    "Claims",
    "Enrolment",
    "Keys",
    "Members",
    "Network",
    "Reply",
    "Services",
    "Serving",
    "Tokens",
    "Usage",
]
