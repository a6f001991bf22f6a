"""What `/api/v1` takes and gives of nodes."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import Field

from garage_ai.accounts import NodeBenchmark
from garage_ai.gateway.coordination.paging import NextPage
from garage_ai.gateway.coordination.schemas import Asked, Given, Name, Nano
from garage_ai.gateway.electricity import Assumption, electricity_of
from garage_ai.ledger import FigureJudge, Standing
from garage_ai.network.models import ImageState, Measured, NodeState, NodeView
from garage_ai.wire.benchmarks import MAX_BODY, Benchmark
from garage_ai.wire.ids import Digest
from garage_ai.wire.messages import ModelServed

_SERVED: Final = ModelServed.__struct_fields__

NonceText = Annotated[str, Field(min_length=1, max_length=256)]
SignatureText = Annotated[str, Field(min_length=1, max_length=128)]
PublicKeyText = Annotated[str, Field(pattern=r"^U[A-Z2-7]{55}$")]

_G = TypeVar("_G", bound=Given)


def _attributes(kind: type[_G], shown: object | None) -> _G | None:
    return None if shown is None else kind.model_validate(shown, from_attributes=True)


class NonceGiven(Given):
    nonce: str = Field(description="Sign it within two minutes.")


class EnrolAsked(Asked):
    token: Annotated[str, Field(min_length=1, max_length=256, examples=["gaij_…"])]
    public_key: PublicKeyText
    nonce: NonceText
    signature: SignatureText
    name: Name
    unsandboxed: bool = Field(False, description="An engine runs without a sandbox.")
    agent: Annotated[str, Field(max_length=128, description="The agent's version.")] = ""


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


class FiguresGiven(Given):
    judged: int = Field(description="Latest requests whose tokens this gateway counted itself.")
    off: int = Field(description="Those in which the engine's figure was off by more than 2 %.")
    flagged: bool = Field(description="Whether that is too many of them.")


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
    measured_speed: float = Field(
        description="Tokens per second of one stream as this gateway sees them; 0 before it has."
    )
    measured_ttft: float = Field(
        description="Seconds to the first token as this gateway sees them; 0 before it has."
    )
    figures: FiguresGiven

    @classmethod
    def of(
        cls, served: ModelServed, measured: Mapping[Digest, Measured], standing: Standing
    ) -> Self:
        """Show a model: the node's own word, and beside it what this gateway saw."""
        seen = measured.get(Digest(served.digest), Measured(0.0, 0.0))
        named = {name: getattr(served, name) for name in _SERVED if name in cls.model_fields}
        return cls(
            **named,
            measured_speed=round(seen.speed, 1),
            measured_ttft=round(seen.ttft, 4),
            figures=FiguresGiven.model_validate(standing, from_attributes=True),
        )


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
    engine_version: str
    driver: str
    memory: int | None = Field(description="The most bytes the engine held.")
    memory_on: Literal["", "cards", "pc"] = Field(description="Whose memory that was.")
    watts: float | None = Field(description="Mean over the run.")
    watts_by: Literal["", "nvml", "rapl"] = Field(
        description="By the cards' own word, or an estimate from the processor's counters."
    )
    watt_hours: float | None = Field(description="For 1,000 tokens of answers, with their prompts.")
    up: float | None = Field(description="Bytes per second to the gateway.")
    down: float | None = Field(description="Bytes per second from the gateway.")
    factor: float | None = Field(
        description="Published speed of the cards, in units of the reference card's."
    )

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


class RefusalGiven(Given):
    code: str
    message: str


class EngineImageGiven(Given):
    digest: str = Field(description="The registry's of a pulled image, the id of a built one.")
    content: str | None = Field(description="What a built one was built of; null for a pulled one.")
    base: str = Field(description="What a built image stands on.")


class ElectricityGiven(Given):
    area: str = Field(description="SE1 to SE4.")
    price: float = Field(description="Kronor per kWh with tax, transfer and VAT.")
    watts: float | None = Field(description="Now, while it lends; null where no meter tells.")
    kwh: float | None = Field(description="This month, by the node's own meters.")
    kronor: float | None = Field(description="What those cost at the price of now.")
    kwh_per_million: float | None = Field(description="For a million tokens, as it was measured.")
    kronor_per_million: float | None
    assumed: list[Assumption] = Field(
        description="What of it is no measurement: an estimate, and no bill."
    )


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
    share: Literal["own", "members", "all"] = Field(description="Whose requests it serves.")
    image: EngineImageGiven | None = Field(
        description="What its engine's container is made from, by its own word."
    )
    image_state: ImageState
    state: NodeState
    reason: str
    refused: RefusalGiven | None = Field(description="Why it gets no work; null if it does.")
    models: list[ModelOffered]
    inflight: int = Field(description="Requests of this gateway at the node now.")
    last_beat_age: float | None = Field(description="Seconds; null before the first beat.")
    clock_skew: float = Field(description="Seconds by which the node's clock is ahead.")
    agent: str
    free_memory: int = Field(description="Bytes.")
    free_vram: int = Field(description="Bytes of its graphics cards together; 0 if none tells.")
    electricity: ElectricityGiven
    benchmark: BenchmarkGiven | None = Field(description="The node's own word, signed; the newest.")

    @classmethod
    def of(cls, view: NodeView, kept: NodeBenchmark | None, figures: FigureJudge) -> Self:
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
            share=view.share,
            image=_attributes(EngineImageGiven, view.image),
            image_state=view.image_state,
            state=view.state,
            reason=view.reason,
            refused=_attributes(RefusalGiven, view.refused),
            models=[
                ModelOffered.of(model, view.measured, figures.standing(view.id, model.digest))
                for model in view.models
            ],
            inflight=view.inflight,
            last_beat_age=view.last_beat_age,
            clock_skew=view.clock_skew,
            agent=view.agent,
            free_memory=view.free_memory,
            free_vram=view.free_vram,
            electricity=ElectricityGiven(
                **asdict(electricity_of(view, kept.benchmark if kept else None))
            ),
            benchmark=BenchmarkGiven.of(kept) if kept else None,
        )


class ForfeitAsked(Asked):
    reason: Annotated[
        str,
        Field(
            min_length=1,
            max_length=200,
            pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$",
            description="Kept in the books, for everybody to whom they are shown.",
        ),
    ]


class ForfeitedGiven(Given):
    id: str
    amount: Nano = Field(description="What was held back, and is the community's now.")


class NodesGiven(Given):
    data: list[NodeGiven]
    after: NextPage


class RemovedGiven(Given):
    id: str
    cut_off: bool = Field(description="False: the servers are told as soon as one is reached.")
