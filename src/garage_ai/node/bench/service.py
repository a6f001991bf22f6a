"""Measure the node's engine, keep the result, and send it to the gateway.

The folder's lock is held throughout, so no agent serves from it meanwhile: what is measured is the
engine alone, and nobody's request suffers from it.
"""

import asyncio
from typing import Final, NamedTuple

from garage_ai.node.bench.drift import Change, Drift, changes, drift
from garage_ai.node.bench.drive import Progress
from garage_ai.node.bench.history import keep, load_history
from garage_ai.node.bench.measure import Tell, measure, send, text_offer
from garage_ai.node.engines.llamacpp import LOAD_SECONDS
from garage_ai.node.engines.port import Engine
from garage_ai.node.errors import NotPossible
from garage_ai.node.events import Begun, Done, Fetching
from garage_ai.node.folder import NodeFolder, Record
from garage_ai.node.serve import prepare_launcher
from garage_ai.node.setup import make_engine
from garage_ai.wire.benchmarks import Benchmark

EXTERNAL_SECONDS: Final = 30.0
"""Longest wait for a server that the owner runs; it is there or it is not."""


class Outcome(NamedTuple):
    """A measurement, what has changed since the last ones, and why it was not sent, if so."""

    benchmark: Benchmark
    drift: tuple[Drift, ...]
    changes: tuple[Change, ...]
    unsent: str


async def bench(folder: NodeFolder, tell: Tell, progress: Progress) -> Outcome:
    """Measure, keep the result, and send it.

    Raises: NotEnrolled, AlreadyRunning, NotPossible.
    """
    with folder.lock():
        folder.prepare()
        record = folder.load()
        history = load_history(folder.path)
        # As it serves: what a sandbox costs is a part of how fast the engine is.
        launcher = await prepare_launcher(record, folder, tell)
        tell(Begun("model", ", ".join(record.choice.models)))
        engine = await make_engine(
            record.choice,
            record.member,
            folder,
            lambda progress: tell(Fetching(progress)),
            launcher,
        )
        result = await _measured(engine, record, folder, tell, progress)
        keep(folder.path, result)
        unsent = await send(folder, record, result)
        return Outcome(result, drift(history, result), changes(history, result), unsent)


async def _measured(
    engine: Engine, record: Record, folder: NodeFolder, tell: Tell, progress: Progress
) -> Benchmark:
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        await engine.start()
        await _ready(engine)
        tell(Done("model", text_offer(engine).name))
        load = None if engine.kind == "external" else round(loop.time() - began, 3)
        return await measure(
            engine, record, folder, began=began, load=load, tell=tell, progress=progress
        )
    finally:
        await engine.stop()


async def _ready(engine: Engine) -> None:
    """Wait until the engine serves. Raises: NotPossible."""
    changed = asyncio.Event()
    engine.on_change(changed.set)
    seconds = EXTERNAL_SECONDS if engine.kind == "external" else LOAD_SECONDS
    try:
        async with asyncio.timeout(seconds):
            while engine.state not in ("ready", "failed"):
                changed.clear()
                await changed.wait()
    except TimeoutError as error:
        raise NotPossible(
            "The engine is not ready: {reason}",
            reason=engine.reason,
        ) from error
    if engine.state == "failed":
        raise NotPossible(
            "{problem}",
            problem=engine.reason,
        )


__all__ = ["Outcome", "bench"]
