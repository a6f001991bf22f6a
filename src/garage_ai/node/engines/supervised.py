"""An engine in a process of ours: started, proved, watched, started again. What is its own is not.

loading ─ready and proved→ ready ─it dies, hangs or cannot be proved→ loading
   └── it cannot be started, or not in time: again, with back-off ──┘
   └── out of memory at every size and in every form→ failed ─room again, each minute→ loading

With a `Fitting` each start takes the largest size that is not known to be too large.
"""

import asyncio
import os
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final

import structlog

from garage_ai.node.engines.child import Child, describe
from garage_ai.node.engines.launch import SOCKET
from garage_ai.node.engines.link import EngineLink, listener_of, socket_path
from garage_ai.node.engines.port import Device, EngineLoad, Fence, Offer
from garage_ai.node.errors import DoesNotFit, EngineError, EngineLost, NodeError
from garage_ai.node.fitting.book import Peak
from garage_ai.node.fitting.fitting import Fitting
from garage_ai.node.fitting.sizes import Size
from garage_ai.node.guard.words import NOTHING, Sentence
from garage_ai.node.logs import BoundedLog
from garage_ai.wire.messages import EngineState

_log = structlog.get_logger(__name__)

CHECK_SECONDS: Final = 60.0
"""An engine that has answered nobody for so long is asked for a token, to see that it works."""

CANARY_SECONDS: Final = 180.0
"""Longest request of a whole context, made once to see what memory it takes."""

ROOM_SECONDS: Final = 60.0
"""Between two looks for memory where no size of a model fits: what else took it may end."""

_CANARIES: Final = 2
"""Tries in the life of one process; whoever asks for something meanwhile goes first."""

_SPARE_TOKENS: Final = 16
"""For the answer, and for what a tokenizer puts before a prompt."""

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

    once: ClassVar[bool] = False
    """Whether somebody else decides what follows when it fails."""

    def __init__(
        self,
        offer: Offer,
        *,
        run: Path,
        logs: Path,
        look_seconds: float = CHECK_SECONDS,
        idle_seconds: float = CHECK_SECONDS,
        fitting: Fitting | None = None,
    ) -> None:
        self._offer = offer
        self._planned = Size(offer.context, offer.slots)
        self._fitting = fitting
        self._canaries = 0
        self._measured_at = 0.0
        self._asked = asyncio.Event()
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
        self._launched_at = self._load_seconds = 0.0
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

    @abstractmethod
    def _take_on(self, size: Size) -> None:
        """Start with this size from now on."""

    @abstractmethod
    async def _fill(self, tokens: int) -> bool:
        """Have it read a prompt of so many tokens; True if it did. Raises: EngineError."""

    async def _take_lesser_form(self) -> bool:
        """Go over to the next smaller form of the model; False when there is none."""
        return False

    @property
    def fence(self) -> Fence:
        """What stands between it and this PC: nothing, unless whoever derives from this says so."""
        return Fence()

    @property
    def device(self) -> Device | None:
        """What it computes on; None where nobody has said."""
        return None

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
        """Its guess how long it still loads, by the last time; 0 when it has none."""
        if self._state != "loading" or not self._load_seconds:
            return 0.0
        gone = asyncio.get_running_loop().time() - self._launched_at
        return max(1.0, self._load_seconds - gone)

    @property
    def smaller(self) -> Sentence:
        """Why it serves less than planned, or nothing at all, for want of memory."""
        return self._fitting.why if self._fitting is not None else NOTHING

    @property
    def memory(self) -> Peak | None:
        """The most it was measured to hold at this size."""
        return self._fitting.peak if self._fitting is not None else None

    @property
    def pid(self) -> int | None:
        """The process id of the engine, while it runs."""
        return self._child.pid if self._child is not None else None

    @property
    def pids(self) -> frozenset[int]:
        """Its processes, while it runs: what we started, in a container too, and who answers."""
        started = self._child.pids if self._child is not None else frozenset()
        return started if self._listener_pid is None else started | {self._listener_pid}

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
        self._become("stopped", "")

    async def stop(self) -> None:
        """End the process; idempotent."""
        await self._end_process()
        await self._link.close()
        self._log.close()
        self._leave_folder()
        self._become("stopped", "")

    def _leave_folder(self) -> None:
        """Let go of the socket's folder; the next start makes one."""
        if self._folder_handle >= 0:
            os.close(self._folder_handle)
            self._folder_handle = -1

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
        try:
            await self._run_again_and_again()
        except Exception as error:  # an engine that nobody looks after must not seem to load
            _log.exception("engine_unsupervised", engine=self.kind)
            why = str(error) if isinstance(error, NodeError) else "the agent failed"
            self._become("failed", why)

    async def _run_again_and_again(self) -> None:
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            ready_at = child = None
            try:
                await self._fit()
                if self._state == "failed":
                    self._become("loading", "the engine is starting")
                self._launched_at = loop.time()
                child = self._child = await self._launch()
                try:
                    await self._until_ready(child)
                    await self._prove()
                    self._listener_pid = listener_of(self._socket())
                    ready_at = loop.time()
                    self._load_seconds = ready_at - self._launched_at
                    # It went on without what it then said that it could not have.
                    child.said_out_of_memory = False
                    self._become("ready", "")
                    await self._watch(child)
                finally:
                    self._child = self._listener_pid = None
                    await self._end(child)
            except EngineError as error:
                if self.once or isinstance(error, DoesNotFit):
                    self._become("failed", str(error))
                    if self.once:
                        return
                    await asyncio.sleep(ROOM_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311
                    continue
                good = ready_at is not None and loop.time() - ready_at > _GOOD_SECONDS
                # Less is asked for the next time, so there is no reason to wait long.
                failures = 1 if await self._ran_out(child) or good else failures + 1
                _log.warning("engine_lost", engine=self.kind, failures=failures, detail=str(error))
                self._become("loading", str(error))
            chance = random.random()  # noqa: S311 - jitter
            await asyncio.sleep(_wait(failures, chance, self.longest_wait))

    async def _fit(self) -> None:
        """Choose size and form for the next start. Raises: DoesNotFit."""
        while self._fitting is not None:
            offer = self._offer
            try:
                size = await self._fitting.begin(offer.name, offer.digest, self._planned)
            except DoesNotFit:
                if not await self._take_lesser_form():
                    raise
                continue
            if size != (offer.context, offer.slots):
                self._offer = replace(offer, context=size.context, slots=size.slots)
                self._take_on(size)
            self._canaries = _CANARIES
            return

    async def _ran_out(self, child: Child | None) -> bool:
        """Tell, and remember, whether a process ended for want of memory."""
        if self._fitting is None or child is None:
            return False
        return await self._fitting.ended(
            child.code, said=child.said_out_of_memory, killed_by_us=child.was_killed
        )

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
            await self.measure()
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
            await self._send_canary()
        elif loop.time() - self._measured_at > CHECK_SECONDS:
            await self.measure()

    def _note_asked(self) -> None:
        """Take note of a request, which goes before whatever is done for ourselves."""
        self._last_answer = asyncio.get_running_loop().time()
        self._asked.set()

    async def measure(self, *, full: bool = False) -> None:
        """Note what it holds of memory; `full` after a request of its whole context."""
        if self._fitting is not None:
            self._measured_at = asyncio.get_running_loop().time()
            pids = self.pids if self._listener_pid is None else {self._listener_pid}
            await self._fitting.measure(pids, full=full)

    async def _send_canary(self) -> None:
        """Fill the whole context once, if nobody has yet, to see what memory that takes.

        Raises: EngineError when it does not survive that.
        """
        peak = self.memory
        if peak is None or peak.full or self._canaries <= 0:
            return
        self._canaries -= 1
        self._asked.clear()
        filling = asyncio.ensure_future(self._fill(self._offer.context - _SPARE_TOKENS))
        asked = asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait(
                {filling, asked}, timeout=CANARY_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for each in (filling, asked):
                each.cancel()
            await asyncio.gather(filling, asked, return_exceptions=True)
        if filling.cancelled():
            return
        await self.measure(full=filling.result())

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


__all__ = ["CANARY_SECONDS", "CHECK_SECONDS", "SupervisedEngine"]
