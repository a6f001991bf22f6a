"""Measure a node once while it serves: when nobody asks it anything, giving way to whoever does."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from garage_ai.node.agent import Agent
from garage_ai.node.bench.history import keep, load_history
from garage_ai.node.bench.measure import measure, send, text_offer
from garage_ai.node.engines.port import Engine, Offer
from garage_ai.node.errors import NodeError
from garage_ai.node.folder import NodeFolder, Record
from garage_ai.wire.benchmarks import Benchmark

_log = structlog.get_logger(__name__)

IDLE_SECONDS: Final = 60.0
"""So long a node has had nothing to do before it is measured."""

TRIES: Final = 3
"""Measurements that may fail in one life of the agent; those that gave way do not count."""

_LOOK_SECONDS: Final = 1.0
_WAY_SECONDS: Final = 0.1


class IdleBench:
    """Measures an engine that was not measured before, as it serves."""

    def __init__(
        self,
        folder: NodeFolder,
        record: Record,
        engine: Engine,
        agent: Agent,
        *,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._folder = folder
        self._record = record
        self._engine = engine
        self._agent = agent
        self._idle_seconds = idle_seconds
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Return when there is a measurement, or none is to be had."""
        failed = 0
        while failed < TRIES:
            await self._idle()
            try:
                offer = text_offer(self._engine)
                if was_measured(load_history(self._folder.path), self._engine.kind, offer):
                    return
                if await self._measure():
                    return
            except NodeError as error:
                failed += 1
                _log.warning("not_measured", detail=str(error)[:200])

    async def _idle(self) -> None:
        """Wait until the node has served for so long without a request."""
        core = self._agent.core
        since, accepted = self._loop.time(), core.totals.accepted
        while self._loop.time() - since < self._idle_seconds:
            await asyncio.sleep(min(_LOOK_SECONDS, self._idle_seconds))
            if self._wanted or core.totals.accepted != accepted:
                since, accepted = self._loop.time(), core.totals.accepted

    @property
    def _wanted(self) -> bool:
        """Whether somebody has work for the node, or its owner wants the PC."""
        return self._agent.busy or self._agent.core.state != "ready"

    async def _measure(self) -> bool:
        """Measure, and hand it in; tell whether nobody came in between. Raises: NodeError."""
        _log.info("measuring")
        work = asyncio.create_task(
            measure(
                self._engine,
                self._record,
                self._folder,
                began=self._loop.time(),
                load=None,
                tell=lambda _: None,
                progress=lambda *_: None,
            ),
            name="measuring",
        )
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=_WAY_SECONDS)
                if self._wanted and not work.done():
                    _log.info("measuring_gave_way")
                    return False
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        found = work.result()
        keep(self._folder.path, found)
        await send(self._folder, self._record, found)
        _log.info("measured", seconds=found.seconds)
        return True


def was_measured(history: Sequence[Benchmark], engine: str, offer: Offer) -> bool:
    """Tell whether this model was measured on this engine, as it is run now."""
    now = (engine, offer.digest, offer.context, offer.slots)
    return any((each.engine, each.digest, each.context, each.slots) == now for each in history)


__all__ = ["IDLE_SECONDS", "TRIES", "IdleBench", "was_measured"]
