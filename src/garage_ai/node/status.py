"""What an agent says about itself to its owner."""

import os
from collections.abc import Iterable, Mapping
from typing import Literal, Protocol

import msgspec

from garage_ai import __version__
from garage_ai.node.bench.drift import Trend
from garage_ai.node.core import Core
from garage_ai.node.engines.port import Device, Engine
from garage_ai.node.folder import Record
from garage_ai.node.group.view import Grouped, GroupView
from garage_ai.node.guard.status import GuardStatus
from garage_ai.node.guard.words import NOTHING, Sentence
from garage_ai.node.speeds import Speeds
from garage_ai.wire.frames import VERSIONS
from garage_ai.wire.ids import Digest
from garage_ai.wire.messages import (
    ADMITTED,
    REFUSED,
    AgentState,
    EngineImage,
    EngineState,
    SandboxKind,
)


class ModelStatus(msgspec.Struct, frozen=True):
    """A model and how busy it is; `context` in tokens and speed in tokens/s, 0 when not known."""

    name: str
    digest: str
    kind: str
    context: int
    slots: int
    running: int
    decode_speed: float = 0.0


class DeviceStatus(msgspec.Struct, frozen=True):
    """What the engine computes on: cards by UUID, without any the processor.

    `layers` of `of` are on the cards; `slowdown` is what that costs, as a factor, estimated.
    """

    cards: tuple[str, ...]
    layers: int
    of: int
    slowdown: float = 1.0


class EngineStatus(msgspec.Struct, frozen=True):
    """The engine, why it is not ready, if it is not, and what fences it in.

    `running`, `waiting` and `cache_used` (a share) are its own word, None where it says nothing.
    `limits` tells whether the sandbox's bounds on memory and processes hold here, `image` what its
    container is made from. `smaller` says why it serves less than planned; `memory` is the most
    bytes it was measured to hold. `device` is None where it is not known what it computes on.
    """

    kind: str
    state: EngineState
    reason: str
    running: int | None = None
    waiting: int | None = None
    cache_used: float | None = None
    sandbox: SandboxKind = "none"
    limits: bool = False
    smaller: Sentence | None = None
    memory: int | None = None
    image: EngineImage | None = None
    device: DeviceStatus | None = None


class TotalsStatus(msgspec.Struct, frozen=True):
    """Requests since the agent started."""

    accepted: int
    answered: int
    failed: int
    cancelled: int
    refused: int
    yielded: int = 0
    preempted: int = 0


class LinkStatus(msgspec.Struct, frozen=True):
    """The link to the network."""

    state: str
    url: str | None
    error: str | None


class NoticeStatus(msgspec.Struct, frozen=True):
    """What the network told the owner; `at` in seconds since 1970."""

    code: str
    message: str
    at: float


class RotationStatus(msgspec.Struct, frozen=True):
    """A change of the node's key since the agent started; `code` and `message` of a failure."""

    state: Literal["none", "under_way", "done", "failed"]
    code: str = ""
    message: str = ""


class Status(msgspec.Struct, frozen=True):
    """An agent's state; times in seconds since 1970.

    `job` is the one that its engine is made for alone; empty while it is everybody's. `trend` is
    what the last measurement found changed. One that `waits_for_room` has no engine yet.
    """

    node: str
    name: str
    region: str | None
    gateway: str
    pid: int
    session: str
    state: AgentState
    reason: str
    running: int
    slots: int
    engine: EngineStatus
    models: tuple[ModelStatus, ...]
    totals: TotalsStatus
    link: LinkStatus
    notices: tuple[NoticeStatus, ...]
    started_at: float
    jwt_ends_at: float | None
    agent: str
    wire_versions: tuple[int, ...]
    public_key: str = ""
    rotation: RotationStatus = RotationStatus("none")
    guard: GuardStatus | None = None
    group: GroupView | None = None
    job: str = ""
    trend: Trend = Trend()
    waits_for_room: bool = False


def refusal_in(notices: Iterable[NoticeStatus]) -> str:
    """Give the code by which the network last said that it has no work; empty if it has."""
    told = [each.code for each in notices if each.code in REFUSED or each.code == ADMITTED]
    return told[-1] if told and told[-1] != ADMITTED else ""


class LinkView(Protocol):
    """What is to be known of the link to the network."""

    @property
    def state(self) -> str: ...
    @property
    def url(self) -> str | None: ...
    @property
    def last_error(self) -> Exception | None: ...


def agent_status(
    record: Record,
    core: Core,
    *,
    speeds: Mapping[Digest, Speeds],
    engine: Engine,
    link: LinkView,
    notices: tuple[NoticeStatus, ...],
    started_at: float,
    jwt_ends_at: float | None,
    public_key: str,
    rotation: RotationStatus,
    guard: GuardStatus,
    trend: Trend,
) -> Status:
    """Put together how the agent is."""
    running = [exchange.offer.digest for exchange in core.running.values()]
    totals = core.totals
    return Status(
        node=record.node,
        name=record.name,
        region=record.region,
        gateway=record.gateway,
        pid=os.getpid(),
        session=core.session,
        state=core.state,
        reason=core.reason,
        running=len(running),
        slots=core.slots,
        engine=_engine_status(engine, core),
        models=tuple(
            ModelStatus(
                name=each.name,
                digest=each.digest,
                kind=each.kind,
                context=each.context,
                slots=each.slots,
                running=running.count(each.digest),
                decode_speed=speeds[each.digest].decode if each.digest in speeds else 0.0,
            )
            for each in core.offers
        ),
        totals=TotalsStatus(
            totals.accepted,
            totals.answered,
            totals.failed,
            totals.cancelled,
            totals.refused,
            totals.yielded,
            totals.preempted,
        ),
        link=LinkStatus(link.state, link.url, str(link.last_error) if link.last_error else None),
        notices=notices,
        started_at=started_at,
        jwt_ends_at=jwt_ends_at,
        agent=__version__,
        wire_versions=VERSIONS,
        public_key=public_key,
        rotation=rotation,
        guard=guard,
        group=engine.view() if isinstance(engine, Grouped) else None,
        job=core.dedication.job,
        trend=trend,
    )


def waiting_status(record: Record, reason: str, started_at: float) -> Status:
    """Say of an agent that has no engine yet why it waits."""
    return Status(
        node=record.node,
        name=record.name,
        region=record.region,
        gateway=record.gateway,
        pid=os.getpid(),
        session="",
        state="joining",
        reason=reason,
        running=0,
        slots=0,
        engine=EngineStatus(record.choice.engine, "stopped", ""),
        models=(),
        totals=TotalsStatus(0, 0, 0, 0, 0),
        link=LinkStatus("closed", None, None),
        notices=(),
        started_at=started_at,
        jwt_ends_at=None,
        agent=__version__,
        wire_versions=VERSIONS,
        waits_for_room=True,
    )


def _engine_status(engine: Engine, core: Core) -> EngineStatus:
    load, fence = engine.load, engine.fence
    return EngineStatus(
        engine.kind,
        core.engine,
        core.engine_reason,
        running=load.running if load is not None else None,
        waiting=load.waiting if load is not None else None,
        cache_used=round(load.cache_used, 3) if load is not None else None,
        sandbox=fence.kind,
        limits=fence.limits,
        smaller=engine.smaller if engine.smaller != NOTHING else None,
        memory=engine.memory.peak if engine.memory is not None else None,
        image=fence.image,
        device=_device_status(engine.device),
    )


def _device_status(device: Device | None) -> DeviceStatus | None:
    if device is None:
        return None
    return DeviceStatus(device.cards, device.layers, device.of, round(device.slowdown, 1))


__all__ = [
    "DeviceStatus",
    "EngineStatus",
    "LinkStatus",
    "ModelStatus",
    "NoticeStatus",
    "RotationStatus",
    "Status",
    "TotalsStatus",
    "agent_status",
    "refusal_in",
    "waiting_status",
]
