"""What the edge needs of the rooms below it, as protocols: it joins them and decides nothing."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from garage_ai.accounts import (
    DecidedImage,
    Dimension,
    ExternalModel,
    Key,
    KeyId,
    LimitSettings,
    MemberId,
    NodeBenchmark,
)
from garage_ai.audit.models import Actor, Head
from garage_ai.catalog import Catalog, Manifest
from garage_ai.gateway.account_services import (
    Audit,
    Invites,
    Keys,
    Members,
    OwnData,
    Tokens,
)
from garage_ai.gateway.batch_services import Batches, Engines, Files, UploadLimits
from garage_ai.gateway.body import BodyLimits
from garage_ai.gateway.catalogue import CatalogueEntry
from garage_ai.gateway.economy_services import Grants, Ledger, Prices, Proxied, Rewards
from garage_ai.gateway.leaving import Leaving
from garage_ai.gateway.metrics import Metrics
from garage_ai.ledger import FigureJudge
from garage_ai.network.admission import ImageList
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
    headers: Sequence[tuple[bytes, bytes]]
    """What else is told before the answer."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the bytes. Raises: ServingError for a plain answer that breaks."""
        ...

    async def aclose(self, outcome: str = ...) -> None:
        """Stop the work on the node and record why; idempotent."""


class Serving(Protocol):
    """Requests."""

    async def open(self, call: Call, given_up: Callable[[], str] = ...) -> Reply:
        """Return when the answer begins; `given_up` says why, when the caller is cancelled.

        Raises: ServingError.
        """
        ...


class KeyLimits(Protocol):
    """What keys and members may use."""

    def check_expiry(self, key: Key) -> None:
        """Refuse a key whose time is over. Raises: ExpiredKey."""

    def models(self, key: Key) -> frozenset[str] | None:
        """Name the models that a key may use; None: all."""
        ...


class LimitBook(Protocol):
    """The settings of limits."""

    def of(self, owner: KeyId | MemberId) -> LimitSettings:
        """Give the settings of a key or a member."""
        ...

    async def change_key(
        self, key: KeyId, changes: Mapping[str, object], *, by: Actor = ...
    ) -> LimitSettings:
        """Set the named limits. Raises: InvalidField, KeyNotFound."""
        ...

    async def change_member(
        self, member: MemberId, changes: Mapping[str, object], *, by: Actor = ...
    ) -> LimitSettings:
        """Set the named limits. Raises: InvalidField, MemberNotFound."""
        ...

    async def used_by_key(self, key: KeyId) -> Mapping[Dimension, int]:
        """Tell what of each limit is used. Raises: KeyNotFound."""
        ...

    async def used_by_member(self, member: MemberId) -> Mapping[Dimension, int]:
        """Tell what of each limit is used. Raises: MemberNotFound."""
        ...

    async def refresh(self) -> None:
        """Take over what was written elsewhere."""


class Claims(Protocol):
    """Names of models that members serve with engines of their own."""

    async def approve(self, name: str, member: MemberId, *, by: Actor = ...) -> ExternalModel:
        """Let a member serve under a name. Raises: ClaimNotFound."""
        ...

    async def list(self) -> list[ExternalModel]:
        """Give all claims."""
        ...


class Images(Protocol):
    """Images that administrators have decided about."""

    async def decide(
        self, digest: str, note: str | None = None, *, revoked: bool, by: Actor = ...
    ) -> DecidedImage:
        """Approve or revoke an image. Raises: InvalidField."""
        ...

    async def list(self) -> list[DecidedImage]:
        """Give all of them."""
        ...


class Catalogue(Protocol):
    """The models that the network knows by name."""

    @property
    def catalog(self) -> Catalog:
        """What is known now."""
        ...

    def entries(self) -> Sequence[CatalogueEntry]:
        """Give all models."""
        ...

    def entry(self, name: str) -> CatalogueEntry | None:
        """Give the model of a name."""
        ...

    async def add(self, manifest: Manifest, *, by: Actor = ...) -> CatalogueEntry:
        """Add a model. Raises: ManifestInvalid, ManifestExists."""
        ...

    async def remove(self, name: str, *, by: Actor = ...) -> None:
        """Take a model out. Raises: ManifestNotFound, Conflict."""

    async def refresh(self) -> None:
        """Take over what other gateways changed. Raises: StorageError."""


class Network(Protocol):
    """Nodes and models as they are now; an unknown node is a KeyError."""

    @property
    def ready(self) -> bool:
        """Whether some node serves a model, and is within reach."""
        ...

    def nodes(
        self, member: str | None = None, limit: int | None = None, after: NodeId | None = None
    ) -> Sequence[NodeView]:
        """Show all nodes, or a member's, by name, or so many behind one. Raises: KeyError."""
        ...

    def node(self, node_id: NodeId) -> NodeView:
        """Show one node. Raises: KeyError."""
        ...

    def models(
        self, allowed: Collection[str] | None = None, member: str | None = None
    ) -> Sequence[ModelView]:
        """Show the models that are served or allowed; to a member only what serves it."""
        ...

    def enrol(self, node: EnrolledNode) -> None:
        """Let a node in that was just enrolled."""

    def remove(self, node_id: NodeId) -> None:
        """Forget a node."""

    def drain(self, node_id: NodeId, reason: str) -> None:
        """Let a node finish and take nothing new. Raises: KeyError."""

    def undrain(self, node_id: NodeId) -> None:
        """Let a node work again. Raises: KeyError."""

    def images_are(self, images: ImageList) -> None:
        """Take note of what administrators have decided about images."""

    def compare(self) -> None:
        """Take over what the books say by now."""


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

    async def may_measure(self, proof: Proof) -> NodeId:
        """Tell which node asks to measure its line."""
        ...

    async def leave(self, proof: Proof) -> None:
        """Let a node go at its own wish."""

    async def admit(self, node: NodeId, *, by: Actor = ...) -> None:
        """Let a node serve without a whole sandbox."""

    async def remove(self, node: NodeId, *, by: Actor = ...) -> bool:
        """Cut a node off for good; True if the servers have done so already."""
        ...

    async def remove_all(self, member: MemberId, *, by: Actor = ...) -> Sequence[NodeId]:
        """Cut all nodes of a member off; tell which."""
        ...


class Benchmarks(Protocol):
    """What nodes measured of themselves."""

    async def record(self, signed: SignedBenchmark, public_key: str) -> NodeBenchmark:
        """Keep a measurement."""
        ...

    async def latest(
        self, among: Collection[NodeId] | None = None, *, member: MemberId | None = None
    ) -> Mapping[NodeId, NodeBenchmark]:
        """Give the newest of each node, of some, or of each of a member's."""
        ...


class Usage(Protocol):
    """What was used."""

    async def page(
        self, limit: int, before: int | None, member: MemberId | None = None
    ) -> UsagePage:
        """List records, or one member's, newest first."""
        ...

    async def totals(
        self,
        since: datetime | None,
        until: datetime | None,
        by: Grouping,
        member: MemberId | None = None,
    ) -> Sequence[UsageTotal]:
        """Add records up, or one member's."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that lives as long as the app does.

    `ca` is the network's own CA in PEM, None when certificates are public ones; `ca_fingerprint`
    (sha256 in hex) is appended to token secrets so that nodes can pin it. `default_limits` are for
    new keys of members other than the operator. `last_head` is what the gateway remembers of the
    log outside of its database.
    """

    serving: Serving
    members: Members
    keys: Keys
    key_limits: KeyLimits
    limit_book: LimitBook
    tokens: Tokens
    claims: Claims
    images: Images
    catalogue: Catalogue
    network: Network
    enrolment: Enrolment
    benchmarks: Benchmarks
    usage: Usage
    ledger: Ledger
    grants: Grants
    invites: Invites
    audit: Audit
    audit_key: str
    own_data: OwnData
    prices: Prices
    rewards: Rewards
    proxied: Proxied
    files: Files
    batches: Batches
    engines: Engines
    metrics: Metrics
    uploads: UploadLimits = field(default_factory=UploadLimits)
    limits: BodyLimits = field(default_factory=BodyLimits)
    default_limits: LimitSettings = field(default_factory=LimitSettings)
    cors_origins: tuple[str, ...] = ()
    figures: FigureJudge = field(default_factory=FigureJudge)
    last_head: Callable[[], Head | None] = lambda: None
    leaving: Leaving = field(default_factory=Leaving)
    ca: str | None = None
    ca_fingerprint: str | None = None


__all__ = [
    "Audit",
    "Batches",
    "Benchmarks",
    "Catalogue",
    "Claims",
    "Engines",
    "Enrolment",
    "Files",
    "Grants",
    "Images",
    "Invites",
    "KeyLimits",
    "Keys",
    "Ledger",
    "LimitBook",
    "Members",
    "Network",
    "OwnData",
    "Prices",
    "Proxied",
    "Reply",
    "Rewards",
    "Services",
    "Serving",
    "Tokens",
    "Usage",
]
