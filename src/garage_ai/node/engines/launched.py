"""A supervised engine that a launcher starts, bare or in a container, and leaves nothing of."""

import time
from abc import abstractmethod
from pathlib import Path
from typing import Any, Final

import structlog

from garage_ai.node.engines.child import Child
from garage_ai.node.engines.launch import BareLauncher, Launcher, OnLine, Startable
from garage_ai.node.engines.load_time import keep_took, took_before, with_guess
from garage_ai.node.engines.port import Dedicates, Fence, Offer
from garage_ai.node.engines.supervised import SupervisedEngine
from garage_ai.node.errors import EngineError, EngineLost, NoRoom, NotPossible
from garage_ai.wire.messages import EngineState

_log = structlog.get_logger(__name__)

FRESH_SECONDS: Final = 10.0
"""A plan older than this, or tried once, says nothing of the memory that is free now."""


class LaunchedEngine(SupervisedEngine):
    """Whoever derives from it says what is to be started; `launcher` None starts it bare."""

    def __init__(
        self, offer: Offer, *, run: Path, logs: Path, launcher: Launcher | None = None, **more: Any
    ) -> None:
        super().__init__(offer, run=run, logs=logs, **more)
        self._launcher = launcher or BareLauncher()
        self._socket_folder = run
        self._planned_at: float | None = time.monotonic()
        self._loads_for = ""

    @property
    @abstractmethod
    def _startable(self) -> Startable:
        """What is started, as decided on by now."""

    @property
    def fence(self) -> Fence:
        """What stands between it and this PC."""
        return self._launcher.fence

    @property
    def dedicates(self) -> bool:
        """Whether its launcher makes one for a job alone: that is a container, and no process."""
        return isinstance(self._launcher, Dedicates) and self._launcher.dedicates

    def make_for(self, job: str) -> None:
        """Have the next one made for this job alone, or, without a name, for everybody."""
        if isinstance(self._launcher, Dedicates):
            self._launcher.make_for(job)
            self._leave_folder()

    def _make_folder(self) -> Path:
        self._socket_folder = self._launcher.socket_folder(self._run_folder)
        return self._socket_folder

    async def _fit(self) -> None:
        # What an earlier run has left holds memory, which is counted now.
        await self._launcher.clear()
        if self._planned_at is None or time.monotonic() - self._planned_at > FRESH_SECONDS:
            try:
                await self._plan_anew()
            except NotPossible as error:
                waits = error.reason if isinstance(error, NoRoom) else ""
                raise EngineLost(waits or str(error)) from error
            self._planned_at = time.monotonic()
        await super()._fit()
        known = took_before(self._run_folder, self.kind, self._offer.digest)
        self._load_seconds = known or self._load_seconds

    def _become(self, state: EngineState, reason: str) -> None:
        if state == "ready" and self._state != "ready":
            self._keep_load()
        super()._become(state, reason)

    def _keep_load(self) -> None:
        """Keep how long it loaded, for the guess of the next start."""
        keep_took(self._run_folder, self.kind, self._offer.digest, self._load_seconds)

    def _tell_loading(self) -> None:
        """Tell how long it may still load, beside why it is loaded anew, if it is."""
        self._become("loading", with_guess(self._loads_for, self.seconds_left))

    async def _plan_anew(self) -> None:
        """Decide again how it is run, by what is free now. Raises: NotPossible."""

    async def _launch(self) -> Child:
        self._planned_at = None
        self._loads_for = self.reason
        return await self._launcher.launch(
            self._startable, self._socket_folder, self._log, self._on_line
        )

    @property
    def _on_line(self) -> OnLine | None:
        """Who hears all that it says."""
        return None

    async def _end(self, child: Child) -> None:
        await child.stop()
        try:
            await self._launcher.clear()
        except EngineError as error:
            # Before the next start it is tried again, and there it counts.
            _log.warning("engine_left_behind", engine=self.kind, detail=str(error))


__all__ = ["LaunchedEngine"]
