"""An engine in a process of ours: started, proved, watched, started again. What is its own is not.

loading ─ready and proved→ ready ─it dies, hangs or cannot be proved→ loading
   └── it cannot be started, or not in time: again, with back-off ──┘
"""

import asyncio
import os
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Final

import structlog

from garage_ai.node.engines.child import Child, describe
from garage_ai.node.engines.launch import SOCKET
from garage_ai.node.engines.link import EngineLink, listener_of, socket_path
from garage_ai.node.engines.port import EngineLoad, Fence, Offer
from garage_ai.node.errors import EngineError, EngineLost
from garage_ai.node.logs import BoundedLog
from garage_ai.wire.messages import EngineState

_log = structlog.get_logger(__name__)

CHECK_SECONDS: Final = 60.0
"""An engine that has answered nobody for so long is asked for a token, to see that it works."""

_GOOD_SECONDS: Final = 30.0
_FIRST_WAIT: Final = 0.5


class SupervisedEngine(ABC):
    """One model served by a process behind a unix socket that only this user opens.

    `run` is the folder of the socket, made 0700. Whoever derives from it says how the process is
    launched, when it answers, and how it is proved to work.
    """

    kind: ClassVar[str]
    longest_wait: ClassVar[float] = 30.0
    """Seconds between two starts of an engine that fails again and again."""

    def __init__(
        self,
        offer: Offer,
        *,
        run: Path,
        logs: Path,
        look_seconds: float = CHECK_SECONDS,
        idle_seconds: float = CHECK_SECONDS,
    ) -> None:
        self._offer = offer
        self._run_folder = run
        self._folder_handle = -1
        self._log = BoundedLog(logs / "engine.log")
        self._link = EngineLink("http://engine", socket=self._socket)
        self._state: EngineState = "stopped"
        self._reason = ""
        self._listener: Callable[[], None] = _nothing
        self._task: asyncio.Task[None] | None = None
        self._child: Child | None = None
        self._listener_pid: int | None = None
        self._last_answer = 0.0
        self._look_seconds = look_seconds
        self._idle_seconds = idle_seconds

    @abstractmethod
    async def _launch(self) -> Child:
        """Start the process. Raises: EngineError."""

    @abstractmethod
    async def _until_ready(self, child: Child) -> None:
        """Wait until it answers requests. Raises: EngineError."""

    @abstractmethod
    async def _prove(self) -> None:
        """Have it do a little real work: a server that answers may still not work.

        Raises: EngineError.
        """

    @property
    def fence(self) -> Fence:
        """What stands between it and this PC: nothing, unless whoever derives from this says so."""
        return Fence()

    @property
    def state(self) -> EngineState:
        """Where it stands now."""
        return self._state

    @property
    def reason(self) -> str:
        """Why it is not ready; empty when it is."""
        return self._reason

    @property
    def offers(self) -> tuple[Offer, ...]:
        """The one model it serves."""
        return (self._offer,)

    @property
    def load(self) -> EngineLoad | None:
        """What it says of its own load; None where it says nothing."""
        return None

    @property
    def seconds_left(self) -> float:
        """Its guess how long it still loads; 0 when it has none."""
        return 0.0

    @property
    def pid(self) -> int | None:
        """The process id of the engine, while it runs."""
        return self._child.pid if self._child is not None else None

    @property
    def pids(self) -> frozenset[int]:
        """Its processes, while it runs: the one we started, and the one that answers."""
        return frozenset(pid for pid in (self.pid, self._listener_pid) if pid is not None)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the state has changed."""
        self._listener = listener

    async def start(self) -> None:
        """Begin to run the process."""
        if self._folder_handle < 0:
            self._folder_handle = os.open(self._make_folder(), os.O_PATH | os.O_DIRECTORY)
            self._link.open()
        self._become("loading", "the engine is starting")
        self._task = asyncio.create_task(self._supervise(), name=self.kind)

    async def release(self) -> None:
        """End the process at once: nobody waits for it to be polite."""
        if self._child is not None:
            self._kill(self._child)
        await self._end_process()
        self._become("stopped", "the PC is its owner's now")

    async def stop(self) -> None:
        """End the process; idempotent."""
        await self._end_process()
        await self._link.close()
        self._log.close()
        if self._folder_handle >= 0:
            os.close(self._folder_handle)
            self._folder_handle = -1
        self._become("stopped", "")

    async def _end_process(self) -> None:
        """End the process; whoever is cancelled meanwhile leaves the waiting to the next one."""
        task = self._task
        if task is None:
            return
        if not task.cancelling():
            # A second time would break off the process's own end.
            task.cancel()
        await asyncio.wait({task})
        self._task = None
        if not task.cancelled():
            task.result()

    def _kill(self, child: Child) -> None:
        """End a process at once; its end is waited for elsewhere."""
        child.kill()

    def _socket(self) -> str:
        return socket_path(self._folder_handle, SOCKET)

    async def _supervise(self) -> None:
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            ready_at = None
            try:
                child = self._child = await self._launch()
                try:
                    await self._until_ready(child)
                    await self._prove()
                    self._listener_pid = listener_of(self._socket())
                    ready_at = loop.time()
                    self._become("ready", "")
                    await self._watch(child)
                finally:
                    self._child = self._listener_pid = None
                    await self._end(child)
            except EngineError as error:
                good = ready_at is not None and loop.time() - ready_at > _GOOD_SECONDS
                failures = 1 if good else failures + 1
                _log.warning("engine_lost", engine=self.kind, failures=failures, detail=str(error))
                self._become("loading", str(error))
            chance = random.random()  # noqa: S311 - jitter
            await asyncio.sleep(_wait(failures, chance, self.longest_wait))

    def _make_folder(self) -> Path:
        """Make the folder that the socket will be in, and give it."""
        self._run_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._run_folder.chmod(0o700)
        return self._run_folder

    async def _end(self, child: Child) -> None:
        """End a process, and see that nothing of it is left."""
        await child.stop()

    async def _watch(self, child: Child) -> None:
        """Wait for the end of a process that works. Raises: EngineError, always."""
        end = asyncio.ensure_future(child.ended())
        try:
            while True:
                await asyncio.wait({end}, timeout=self._look_seconds)
                if end.done():
                    raise EngineLost(f"the engine ended with {describe(end.result())}")
                await self._look()
        finally:
            end.cancel()

    async def _look(self) -> None:
        """See that it works. Raises: EngineError."""
        # With every slot taken a token of ours would wait for the slowest answer.
        loop = asyncio.get_running_loop()
        if loop.time() - self._last_answer > self._idle_seconds and not self._link.open_answers:
            await self._prove()
            self._last_answer = loop.time()

    def _become(self, state: EngineState, reason: str) -> None:
        if (state, reason) == (self._state, self._reason):
            return
        if state != self._state:
            _log.info("engine_state", engine=self.kind, state=state, reason=reason)
        self._state, self._reason = state, reason
        self._listener()


def _wait(failures: int, draw: float, longest: float) -> float:
    """Give the seconds before the next start: doubling, bounded, half of it by chance."""
    doublings = min(max(failures, 1) - 1, 10)
    return min(longest, _FIRST_WAIT * 2.0**doublings) * (0.5 + draw / 2)


def _nothing() -> None:
    return None


__all__ = ["CHECK_SECONDS", "SupervisedEngine"]
