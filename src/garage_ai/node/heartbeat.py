"""What a node says of itself in a heartbeat."""

import time
from collections.abc import Mapping

from garage_ai import __version__
from garage_ai.node.core import Core
from garage_ai.node.engines.port import Engine, Offer
from garage_ai.node.group.view import Grouped
from garage_ai.node.speeds import Speeds
from garage_ai.wire.frames import VERSIONS
from garage_ai.wire.ids import Digest
from garage_ai.wire.messages import AgentState, Beat, ModelServed


def beat_of(
    core: Core,
    engine: Engine,
    speeds: Mapping[Digest, Speeds],
    *,
    seq: int,
    state: AgentState,
    now: float,
    free_memory: int,
) -> Beat:
    """Say how a node is; `now` by the core's clock, `free_memory` in bytes."""
    return Beat(
        session=core.session,
        seq=seq,
        sent_at=time.time(),
        state=state,
        models=tuple([_served(core, engine, offer, speeds) for offer in core.offers]),
        versions=VERSIONS,
        agent=__version__,
        sandbox=engine.fence.kind,
        limits=engine.fence.limits,
        image=engine.fence.image,
        free_memory=free_memory,
        free_vram=core.free_vram,
        reason=core.reason[:2000],
        share=core.share,
        energy=core.energy,
        dedicates=core.dedication.open(now),
        job=core.dedication.job,
        gang=engine.shares() if isinstance(engine, Grouped) else b"",
    )


def _served(
    core: Core, engine: Engine, offer: Offer, known: Mapping[Digest, Speeds]
) -> ModelServed:
    running, batch = core.load(offer)
    speeds = known.get(offer.digest) or Speeds()
    load = engine.load
    return ModelServed(
        name=offer.name,
        digest=offer.digest,
        kind=offer.kind,
        context=offer.context,
        slots=offer.slots,
        running=running,
        waiting=load.waiting if load is not None else 0,
        engine=core.engine_told,
        external=offer.external,
        prefill_speed=speeds.prefill,
        decode_speed=speeds.decode,
        ready_in=engine.seconds_left,
        batch=batch,
    )


__all__ = ["beat_of"]
