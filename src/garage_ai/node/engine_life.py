"""The engine's life: it runs where the guard lets it, made for whoever has the node."""

import asyncio
from typing import Final

import structlog

from garage_ai.node.agent import Agent
from garage_ai.node.dedication import Turn
from garage_ai.node.engines.port import Dedicates, Engine

_log = structlog.get_logger(__name__)

LONGEST_WAIT: Final = 3600.0


class EngineLife:
    """The only one that starts and releases an agent's engine."""

    def __init__(self, engine: Engine, agent: Agent) -> None:
        self.runs = False
        self.may_run = True
        """The guard's word; `look` after a change of it."""
        self._engine = engine
        self._agent = agent
        self._dedication = agent.core.dedication
        self._clock = asyncio.get_running_loop().time
        self._wake = asyncio.Event()

    def allow(self, dedicated: bool) -> None:
        """Take the owner's word whether one job may have the node for itself."""
        engine = self._engine
        can = isinstance(engine, Dedicates) and engine.dedicates
        self._dedication.allowed = dedicated and can
        self.look()

    def look(self) -> None:
        """See whether something is to be done; to be called after any change."""
        self._wake.set()

    async def begin(self) -> None:
        """Do what is to be done first, and return."""
        while (turn := self._turn()).what != "wait":
            await self._do(turn)

    async def run(self) -> None:
        """Do what is to be done until cancelled."""
        while True:
            self._wake.clear()
            turn = self._turn()
            if turn.what == "wait":
                await self._wait(turn.seconds)
            else:
                await self._do(turn)

    def _turn(self) -> Turn:
        core = self._agent.core
        job = self._dedication.job
        turn = self._dedication.turn(
            self._clock(),
            runs=self.runs,
            may_run=self.may_run,
            serves=core.takes_work,
            busy=self._agent.busy,
        )
        if job != self._dedication.job:
            _log.info("job_over", job=job)
            self._agent.look()
        return turn

    async def _do(self, turn: Turn) -> None:
        if turn.what == "start":
            self._dedication.started()
            if isinstance(self._engine, Dedicates):
                self._engine.make_for(self._dedication.made_for)
            self.runs = True
            _log.info("engine_begins", job=self._dedication.made_for)
            await self._engine.start()
        else:
            # Before the engine is gone, so that they end as given back and not as lost.
            self._agent.give_back()
            self.runs = False
            await self._engine.release()
        self._agent.look()

    async def _wait(self, seconds: float | None) -> None:
        """Wait so long, or until something has changed, or nothing runs where that matters."""
        waiting: list[asyncio.Future[object]] = [asyncio.ensure_future(self._wake.wait())]
        if self._dedication.changes and self._agent.busy:
            waiting.append(asyncio.ensure_future(self._agent.wait_idle()))
        try:
            await asyncio.wait(
                waiting,
                timeout=LONGEST_WAIT if seconds is None else seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for each in waiting:
                each.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


__all__ = ["EngineLife"]
