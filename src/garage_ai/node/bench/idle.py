"""Measure a node while it serves and nobody asks it anything, giving way to whoever does.

Once for each version of what it stands on: an engine or a driver that was updated is measured anew.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from garage_ai.node.agent import Agent
from garage_ai.node.bench.drift import Trend, latest
from garage_ai.node.bench.history import keep, load_history
from garage_ai.node.bench.measure import Footing, footing_of, measure, send, text_offer
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
        self.trend = Trend()
        """What the last measurement found changed, for the owner; known once it was looked at."""
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Return when there is a measurement, or none is to be had."""
        failed = 0
        while failed < TRIES:
            await self._idle()
            try:
                offer = text_offer(self._engine)
                if await self._is_known(offer) or await self._measure():
                    self._compare(offer)
                    return
            except NodeError as error:
                failed += 1
                _log.warning("not_measured", detail=str(error)[:200])

    async def _is_known(self, offer: Offer) -> bool:
        history, footing = load_history(self._folder.path), await footing_of(self._engine)
        return was_measured(history, self._engine.kind, offer, footing)

    def _compare(self, offer: Offer) -> None:
        """Tell the owner if it has become slower or quicker, in its status and in the log."""
        history = load_history(self._folder.path)
        self.trend = latest(history, self._engine.kind, offer.digest)
        for each in self.trend.drift:
            _log.warning("speed_drifted", figure=each.figure, was=each.before, now=each.now)

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
        try:
            keep(self._folder.path, found)
        except OSError as error:  # a full disk: the network hears it, and the next start measures
            _log.warning("measurement_not_kept", detail=str(error)[:200])
        await send(self._folder, self._record, found)
        _log.info("measured", seconds=found.seconds)
        return True


def was_measured(history: Sequence[Benchmark], engine: str, offer: Offer, footing: Footing) -> bool:
    """Tell whether this model was measured on this engine, its driver and as it is run now.

    A version that nobody tells now is no other one.
    """
    now = (engine, offer.digest, offer.context, offer.slots)
    return any(
        (each.engine, each.digest, each.context, each.slots) == now
        and footing.engine in ("", each.engine_version)
        and footing.driver in ("", each.driver)
        for each in history
    )


__all__ = ["IDLE_SECONDS", "TRIES", "IdleBench", "was_measured"]
