"""Measure the node's engine, keep the result, and send it to the gateway.

The folder's lock is held throughout, so no agent serves from it meanwhile: what is measured is the
engine alone, and nobody's request suffers from it.
"""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from garage_ai import __version__
from garage_ai.node.bench.drive import Progress, Size, run_level, size_for
from garage_ai.node.bench.history import Drift, drift, keep, load_history
from garage_ai.node.bench.timing import level_of
from garage_ai.node.engines.llamacpp import LOAD_SECONDS
from garage_ai.node.engines.port import Engine, Offer
from garage_ai.node.errors import NodeError, NotPossible
from garage_ai.node.events import Begun, Done, Event, Fetching
from garage_ai.node.folder import NodeFolder, Record
from garage_ai.node.gateway_client import GatewayClient
from garage_ai.node.hardware.pc import read_cpu, read_gpus
from garage_ai.node.preflight.reach import look
from garage_ai.node.records import tls_for
from garage_ai.node.setup import make_engine
from garage_ai.wire.benchmarks import Benchmark, Level
from garage_ai.wire.identity import IdentityError
from garage_ai.wire.trust import TrustError

_log = structlog.get_logger(__name__)

STREAMS: Final = (1, 4, 16)
EXTERNAL_SECONDS: Final = 30.0
"""Longest wait for a server that the owner runs; it is there or it is not."""

Tell = Callable[[Event], None]


async def bench(
    folder: NodeFolder, tell: Tell, progress: Progress
) -> tuple[Benchmark, tuple[Drift, ...], str]:
    """Measure; give the result, what changed since the last time, and why it was not sent, if so.

    Raises: NotEnrolled, AlreadyRunning, NotPossible.
    """
    with folder.lock():
        folder.prepare()
        record = folder.load()
        history = load_history(folder.path)
        tell(Begun("model", ", ".join(record.choice.models)))
        engine = await make_engine(
            record.choice, record.member, folder, lambda progress: tell(Fetching(progress))
        )
        result = await _measured(engine, record, tell, progress)
        changed = drift(history, result)
        keep(folder.path, result)
        return result, changed, await _send(folder, record, result)


async def _measured(engine: Engine, record: Record, tell: Tell, progress: Progress) -> Benchmark:
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        await engine.start()
        await _ready(engine)
        load = None if engine.kind == "external" else round(loop.time() - began, 3)
        offer = _text_offer(engine)
        tell(Done("model", offer.name))
        levels = await _levels(engine, offer, progress)
    finally:
        await engine.stop()
    reach = await look(record)
    return Benchmark(
        at=round(time.time(), 3),
        agent=__version__,
        engine=engine.kind,
        model=offer.name,
        digest=offer.digest,
        context=offer.context,
        slots=offer.slots,
        cpu=await asyncio.to_thread(read_cpu, Path("/")),
        gpus=tuple(card.name for card in (await asyncio.to_thread(read_gpus)).cards[:16]),
        levels=levels,
        seconds=round(loop.time() - began, 3),
        load=load,
        round_trip=reach.round_trip,
    )


async def _ready(engine: Engine) -> None:
    """Wait until the engine serves. Raises: NotPossible."""
    changed = asyncio.Event()
    engine.on_change(changed.set)
    seconds = EXTERNAL_SECONDS if engine.kind == "external" else LOAD_SECONDS
    try:
        async with asyncio.timeout(seconds):
            while engine.state != "ready":
                changed.clear()
                await changed.wait()
    except TimeoutError as error:
        raise NotPossible(f"The engine is not ready: {engine.reason}") from error


def _text_offer(engine: Engine) -> Offer:
    """Give the model to measure. Raises: NotPossible if none of them makes text."""
    for offer in engine.offers:
        if offer.kind != "embedding":
            return offer
    raise NotPossible("Only a model that makes text can be measured.")


async def _levels(engine: Engine, offer: Offer, progress: Progress) -> tuple[Level, ...]:
    """Run each number of streams that the engine has slots for. Raises: NotPossible."""
    draw = random.Random()  # noqa: S311 - words of a prompt
    levels: list[Level] = []
    for streams in sorted({min(each, offer.slots) for each in STREAMS}):
        size = size_for(streams, levels[0]) if levels else Size()
        rounds = await run_level(engine, offer, streams, size=size, draw=draw, tell=progress)
        level = level_of(streams, rounds)
        if level is None:
            break
        levels.append(level)
    if not levels:
        raise NotPossible("The engine answered none of the requests; see its log.")
    return tuple(levels)


async def _send(folder: NodeFolder, record: Record, result: Benchmark) -> str:
    """Send the result, signed; give why not, if it could not be."""
    try:
        identity = folder.identity.load()
        async with GatewayClient(record.gateway, tls=tls_for(record)) as client:
            await client.send_benchmark(identity, record.node, result)
    except (NodeError, IdentityError, TrustError) as error:
        _log.info("benchmark_unsent", detail=str(error)[:200])
        return str(error)
    return ""


__all__ = ["STREAMS", "bench"]
