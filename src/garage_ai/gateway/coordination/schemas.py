"""What `/api/v1` takes and gives, as pydantic models: FastAPI makes its OpenAPI from them."""

from datetime import UTC, datetime
from typing import Annotated, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from garage_ai.accounts import (
    SCOPES,
    EnrolmentToken,
    ExternalModel,
    Key,
    Member,
    NodeBenchmark,
    Scope,
    TokenState,
)
from garage_ai.network.models import ModelView, NodeState, NodeView
from garage_ai.wire.benchmarks import MAX_BODY, Benchmark
from garage_ai.wire.regions import County

DAY: Final = 86_400

Name = Annotated[str, Field(min_length=1, max_length=200, examples=["Anna's gaming PC"])]
Region = Annotated[County, Field(examples=["SE-AB"])]
MemberText = Annotated[str, Field(min_length=1, max_length=64, examples=["mbr_operator"])]
NonceText = Annotated[str, Field(min_length=1, max_length=256)]
SignatureText = Annotated[str, Field(min_length=1, max_length=128)]
PublicKeyText = Annotated[str, Field(pattern=r"^U[A-Z2-7]{55}$")]
Moment = Annotated[
    AwareDatetime,
    Field(
        ge=datetime(2000, 1, 1, tzinfo=UTC),
        le=datetime(2200, 1, 1, tzinfo=UTC),
        examples=["2026-11-01T00:00:00Z"],
    ),
]


class Asked(BaseModel):
    """Base of what is taken: a field that is not known is a mistake worth telling."""

    model_config = ConfigDict(extra="forbid")


class Given(BaseModel):
    """Base of what is given."""

    model_config = ConfigDict(frozen=True)


class NonceGiven(Given):
    nonce: str = Field(description="Sign it within two minutes.")


class EnrolAsked(Asked):
    token: Annotated[str, Field(min_length=1, max_length=256, examples=["gaij_…"])]
    public_key: PublicKeyText
    nonce: NonceText
    signature: SignatureText
    name: Name
    unsandboxed: bool = Field(False, description="An engine runs without a sandbox.")


class EnrolledGiven(Given):
    node: str
    member: str
    region: str | None
    urls: list[str] = Field(description="NATS addresses, in the order in which to dial them.")
    jwt: str
    ca_pem: str | None = Field(description="The network's own CA, if it has one.")
    versions: list[int] = Field(description="Wire versions that the gateway speaks.")


class ProofAsked(Asked):
    node: Annotated[str, Field(min_length=1, max_length=64)]
    nonce: NonceText
    signature: SignatureText


class RotationAsked(ProofAsked):
    new_public_key: PublicKeyText
    proof: SignatureText


class JwtGiven(Given):
    jwt: str
    urls: list[str] = Field(description="NATS addresses, in the order in which to dial them.")


class DrainAsked(Asked):
    reason: Annotated[str, Field(max_length=500, description="Shown to the owner.")] = ""


class ModelOffered(Given):
    name: str
    digest: str
    kind: str
    context: int = Field(description="Tokens.")
    slots: int
    running: int
    waiting: int
    engine: str
    external: bool
    prefill_speed: float = Field(description="Tokens per second, the node's own word.")
    decode_speed: float = Field(description="Tokens per second, the node's own word.")


class BenchmarkAsked(Asked):
    node: Annotated[str, Field(min_length=1, max_length=64)]
    nonce: NonceText
    body: Annotated[
        str, Field(min_length=2, max_length=MAX_BODY, description="The measurement, as JSON text.")
    ]
    signature: SignatureText


class LevelGiven(Given):
    streams: int
    answered: int
    failed: int
    decode: float = Field(description="Tokens per second of all streams together.")
    prefill: float = Field(description="Tokens per second of all prompts together.")
    ttft: float = Field(description="Seconds, median.")
    ttft_worst: float = Field(description="Seconds.")


class BenchmarkGiven(Given):
    received_at: datetime
    at: float = Field(description="The node's clock, seconds since 1970.")
    agent: str
    engine: str
    model: str
    digest: str
    context: int
    slots: int
    cpu: str
    gpus: list[str]
    levels: list[LevelGiven]
    seconds: float
    load: float | None = Field(description="Seconds until the engine was ready.")
    round_trip: float | None = Field(description="Seconds to the gateway and back.")

    @classmethod
    def of(cls, kept: NodeBenchmark) -> Self:
        """Show a measurement."""
        fields = {name: getattr(kept.benchmark, name) for name in Benchmark.__struct_fields__}
        del fields["version"]
        fields["gpus"] = list(kept.benchmark.gpus)
        fields["levels"] = [
            LevelGiven.model_validate(level, from_attributes=True)
            for level in kept.benchmark.levels
        ]
        return cls(received_at=kept.received_at, **fields)


class NodeGiven(Given):
    id: str
    name: str
    member: str
    region: str | None
    trust: Literal["unverified", "unsandboxed"]
    sandbox: Literal["none", "podman", "docker"] = Field(description="The node's own word.")
    limits: bool = Field(description="Its sandbox's limits hold, by its own word.")
    bare_allowed: bool = Field(
        description="An administrator lets it serve without a whole sandbox."
    )
    state: NodeState
    reason: str
    models: list[ModelOffered]
    inflight: int = Field(description="Requests of this gateway at the node now.")
    last_beat_age: float | None = Field(description="Seconds; null before the first beat.")
    clock_skew: float = Field(description="Seconds by which the node's clock is ahead.")
    agent: str
    free_memory: int = Field(description="Bytes.")
    free_vram: int = Field(description="Bytes.")
    benchmark: BenchmarkGiven | None = Field(description="The node's own word, signed; the newest.")

    @classmethod
    def of(cls, view: NodeView, kept: NodeBenchmark | None) -> Self:
        """Show a node."""
        return cls(
            id=view.id,
            name=view.name,
            member=view.member,
            region=view.region,
            trust=view.trust,
            sandbox=view.sandbox,
            limits=view.limits,
            bare_allowed=view.bare_allowed,
            state=view.state,
            reason=view.reason,
            models=[
                ModelOffered.model_validate(model, from_attributes=True) for model in view.models
            ],
            inflight=view.inflight,
            last_beat_age=view.last_beat_age,
            clock_skew=view.clock_skew,
            agent=view.agent,
            free_memory=view.free_memory,
            free_vram=view.free_vram,
            benchmark=BenchmarkGiven.of(kept) if kept else None,
        )


class NodesGiven(Given):
    data: list[NodeGiven]


class RemovedGiven(Given):
    id: str
    cut_off: bool = Field(description="False: the servers are told as soon as one is reached.")


class TokenAsked(Asked):
    region: Region | None = None
    member: MemberText = "mbr_operator"
    ttl: Annotated[int, Field(ge=1, le=365 * DAY, description="Seconds.")] = DAY
    bare_allowed: bool = Field(
        False, description="The node may serve without a sandbox, or one whose limits do not hold."
    )


class TokenGiven(Given):
    id: str
    member: str
    region: str | None
    state: TokenState
    created_at: datetime
    expires_at: datetime
    redeemed_at: datetime | None
    redeemed_by: str | None
    revoked_at: datetime | None
    bare_allowed_at: datetime | None

    @classmethod
    def of(cls, token: EnrolmentToken) -> Self:
        """Show a token without its secret."""
        return cls(
            id=token.id,
            member=token.member,
            region=token.region,
            state=token.state(datetime.now(UTC)),
            created_at=token.created_at,
            expires_at=token.expires_at,
            redeemed_at=token.redeemed_at,
            redeemed_by=token.redeemed_by,
            revoked_at=token.revoked_at,
            bare_allowed_at=token.bare_allowed_at,
        )


class TokenMade(TokenGiven):
    token: str | None = Field(
        None, description="The secret, told once; null where an earlier call had it."
    )


class TokensGiven(Given):
    data: list[TokenGiven]


class MemberAsked(Asked):
    name: Name


class MemberGiven(Given):
    id: str
    name: str
    created_at: datetime

    @classmethod
    def of(cls, member: Member) -> Self:
        """Show a member."""
        return cls.model_validate(member, from_attributes=True)


class MembersGiven(Given):
    data: list[MemberGiven]


class KeyAsked(Asked):
    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(SCOPES))] = ["inference"]
    region: Region | None = Field(None, description="Requests stay within it.")
    member: MemberText = "mbr_operator"


class KeyGiven(Given):
    id: str
    name: str
    member: str
    scopes: list[Scope]
    region: str | None
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, key: Key) -> Self:
        """Show a key without its secret."""
        return cls(
            id=key.id,
            name=key.name,
            member=key.member,
            scopes=sorted(key.scopes),
            region=key.region,
            created_at=key.created_at,
            last_used_at=key.last_used_at,
            revoked_at=key.revoked_at,
        )


class KeyMade(KeyGiven):
    key: str | None = Field(
        None, description="The secret, told once; null where an earlier call had it."
    )


class KeysGiven(Given):
    data: list[KeyGiven]


class ModelGiven(Given):
    name: str
    digest: str
    kind: str
    context: int
    nodes: int
    slots: int
    alias_of: str | None

    @classmethod
    def of(cls, view: ModelView) -> Self:
        """Show a model."""
        return cls.model_validate(view, from_attributes=True)


class ClaimGiven(Given):
    name: str
    member: str
    digest: str
    state: Literal["approved", "pending"]
    created_at: datetime
    approved_at: datetime | None

    @classmethod
    def of(cls, claim: ExternalModel) -> Self:
        """Show a claim."""
        return cls.model_validate(claim, from_attributes=True)


class ModelsGiven(Given):
    data: list[ModelGiven]
    claims: list[ClaimGiven]


class ApproveAsked(Asked):
    name: Annotated[str, Field(min_length=1, max_length=255)]
    member: MemberText
