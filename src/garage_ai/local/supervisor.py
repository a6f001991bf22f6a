"""The shell around `supervision`: real processes, real time, a log and a record for each child."""

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from garage_ai.local import tether
from garage_ai.local.errors import ChildFailed, LocalError, NotReadyInTime
from garage_ai.local.folders import Folders
from garage_ai.local.logs import LogFile, LogPipe
from garage_ai.local.processes import child_record_path, write_child
from garage_ai.local.supervision import (
    Begin,
    Due,
    Event,
    Exited,
    Instruction,
    Kill,
    Policy,
    Ready,
    Report,
    Spawn,
    State,
    Stop,
    Supervision,
    Terminate,
    Unanswered,
    Wait,
)

_PROBE_EVERY: Final = 0.05
_PROBE_LIMIT: Final = 5.0
_ARGV_LIMIT: Final = 30.0
_LAST_LINES: Final = 12
_MAX_EVENTS: Final = 64
_NOT_STARTED: Final = 127
_AFTER_KILL: Final = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One child: what it is started with, and how it is known to be ready.

    `argv` is asked at each start, since a node joins once and runs from then on. `ready` may
    raise OSError or LocalError, which counts as not yet. `own_log` is the file a child writes by
    itself besides what it prints.
    """

    name: str
    argv: Callable[[], Awaitable[Sequence[str]]]
    ready: Callable[[], Awaitable[bool]]
    environment: Mapping[str, str]
    policy: Policy = field(default_factory=Policy)
    own_log: Path | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to a child; the last four fields are for `ended`, as in `Report`."""

    name: str
    kind: Literal["started", "ready", "ended", "stopped"]
    code: int = 0
    failures: int = 0
    delay: float = 0.0
    worry: bool = False


def tethered(argv: Sequence[str]) -> list[str]:
    """Give the argv that starts a program tied to this process."""
    return [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), *argv]


class Supervisor:
    """Keep one child running until it is told to stop."""

    def __init__(self, plan: Plan, folders: Folders, tell: Callable[[Change], None]) -> None:
        self._plan: Final = plan
        self._folders: Final = folders
        self._tell = tell
        self._machine = Supervision(plan.policy)
        self._log_file = LogFile(folders.logs / f"{plan.name}.log")
        self._events: asyncio.Queue[tuple[int | None, Event]] = asyncio.Queue(_MAX_EVENTS)
        self._round = 0
        self._process: asyncio.subprocess.Process | None = None
        self._asking: asyncio.Future[Sequence[str]] | None = None
        self._doomed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Condition()
        self._last_code = 0
        self._loop_task: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        """Where the child is."""
        return self._machine.state

    @property
    def pid(self) -> int | None:
        """The running child's pid."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the child and keep it running from now on."""
        self._loop_task = asyncio.create_task(self._run(), name=f"supervise {self._plan.name}")
        # Not by the queue: whoever waits for us next must find us started.
        for instruction in self._machine.handle(Begin()):
            self._do(instruction)

    async def wait_ready(self, limit: float) -> None:
        """Wait until the child is ready.

        Raises: ChildFailed when it fails again and again; NotReadyInTime after `limit` seconds.
        """
        name, worried = self._plan.name, self._plan.policy.worry_after

        def settled() -> bool:
            return self.state in ("ready", "stopped") or self._machine.failures >= worried

        try:
            async with asyncio.timeout(limit), self._changed:
                await self._changed.wait_for(settled)
        except TimeoutError as error:
            raise NotReadyInTime(name, limit, *self._last_words()) from error
        if self.state != "ready":
            raise ChildFailed(name, self._last_code, *self._last_words())

    async def wait_stopped(self) -> None:
        """Wait until the work is over; passes on what should never end it: an error in here."""
        if self._loop_task is not None:
            await asyncio.shield(self._loop_task)

    async def stop(self, limit: float | None = None) -> None:
        """End the child, asked first and killed after `limit` seconds (the policy's if None)."""
        if self._loop_task is None or self._loop_task.done():
            return
        self._put(None, Stop(limit))
        most = (self._plan.policy.stop_limit if limit is None else limit) + _AFTER_KILL
        try:
            await asyncio.wait_for(asyncio.shield(self._loop_task), most)
        except TimeoutError:
            # Not even SIGKILL ended it: it hangs in the kernel, and dies when that lets go.
            self._note(f"process {self.pid} does not end, not even when killed")
            self._loop_task.cancel()

    def tell_to_read_again(self) -> None:
        """Let a running child take over what its files say by now."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGHUP)

    def _put(self, of_round: int | None, event: Event) -> None:
        self._events.put_nowait((of_round, event))

    async def _run(self) -> None:
        try:
            while True:
                of_round, event = await self._events.get()
                # What an earlier child or timer had to say is of no interest any more.
                if of_round is not None and of_round != self._round:
                    continue
                before = self.state
                for instruction in self._machine.handle(event):
                    self._do(instruction)
                await self._announce(event, before)
                if self.state == "stopped":
                    return
        finally:
            self._set_timer(None)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _announce(self, event: Event, before: State) -> None:
        if isinstance(event, Exited):
            self._last_code = event.code
        if isinstance(event, Unanswered):
            self._note("does not answer")
        if self.state == "ready" != before:
            self._tell(Change(self._plan.name, "ready"))
        if self.state == "stopped":
            self._tell(Change(self._plan.name, "stopped", code=self._last_code))
        async with self._changed:
            self._changed.notify_all()

    def _do(self, instruction: Instruction) -> None:
        match instruction:
            case Spawn():
                self._round += 1
                self._doomed = False
                self._task(self._live(self._round))
            case Terminate():
                self._terminate()
            case Kill():
                self._kill()
            case Wait(seconds):
                self._set_timer(seconds)
            case Report(code, failures, delay, worry):
                self._note(f"ended with {code}, failure {failures}; again in {delay:.2f} s")
                self._tell(Change(self._plan.name, "ended", code, failures, delay, worry))

    def _set_timer(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(seconds, self._put, self._round, Due())

    def _task(self, work: "asyncio._CoroutineLike[None]") -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _live(self, this_round: int) -> None:
        """Follow one child from its argv to its end."""
        code = _NOT_STARTED
        try:
            code = await self._start_and_wait(this_round)
        except (OSError, LocalError, TimeoutError) as error:
            self._note(f"cannot be started: {error}")
        except Exception as error:  # nobody would hear of a child that is never tried again
            self._note(f"cannot be started: {type(error).__name__}: {error}")
        finally:
            self._process = None
            with contextlib.suppress(OSError):
                child_record_path(self._folders.run, self._plan.name).unlink(missing_ok=True)
        now = asyncio.get_running_loop().time()
        self._put(this_round, Exited(now, code, random.random()))  # noqa: S311 - spreads restarts

    async def _start_and_wait(self, this_round: int) -> int:
        self._asking = asyncio.ensure_future(self._plan.argv())
        try:
            argv = await asyncio.wait_for(self._asking, _ARGV_LIMIT)
        except asyncio.CancelledError:
            if self._doomed:
                return -signal.SIGTERM
            raise
        finally:
            self._asking = None
        pipe = LogPipe(self._log_file)
        try:
            return await self._start_and_reap(this_round, argv, pipe)
        finally:
            pipe.close()

    async def _start_and_reap(self, this_round: int, argv: Sequence[str], pipe: LogPipe) -> int:
        process = await asyncio.create_subprocess_exec(
            *tethered(argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=pipe.writer,
            stderr=pipe.writer,
            env=self._plan.environment,
            cwd="/",
            # The terminal's Ctrl-C is for us; children end in order.
            start_new_session=True,
        )
        self._process = process
        pipe.handed_over()
        self._record(process.pid)
        self._tell(Change(self._plan.name, "started"))
        if self._doomed:
            self._terminate()
        probing = self._task(self._probe(this_round))
        try:
            return await process.wait()
        finally:
            probing.cancel()
            if process.returncode is None:
                self._kill()

    def _record(self, pid: int) -> None:
        # A record is needed only where the tether fails; a full disk must not stop the network.
        with contextlib.suppress(OSError):
            write_child(self._folders.run, self._plan.name, pid)

    async def _probe(self, this_round: int) -> None:
        """Look until the child is ready, and from then on whether it hangs."""
        policy, loop = self._plan.policy, asyncio.get_running_loop()
        while True:
            if await self._is_ready():
                break
            await asyncio.sleep(_PROBE_EVERY)
        self._put(this_round, Ready(loop.time()))
        while policy.hung_after is not None:
            await asyncio.sleep(policy.look_every)
            answers = await self._is_ready()
            self._put(this_round, Ready(loop.time()) if answers else Unanswered())

    async def _is_ready(self) -> bool:
        try:
            async with asyncio.timeout(_PROBE_LIMIT):
                return await self._plan.ready()
        except Exception as error:
            if not isinstance(error, OSError | LocalError):  # nor of one that is never looked at
                self._note(f"cannot be asked: {type(error).__name__}: {error}")
            return False

    def _terminate(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            return
        self._doomed = True
        if self._asking is not None:
            self._asking.cancel()

    def _kill(self) -> None:
        if self._process is None:
            self._terminate()
            return
        with contextlib.suppress(ProcessLookupError):
            # It leads a session of its own; what it started there ends with it.
            os.killpg(self._process.pid, signal.SIGKILL)

    def _note(self, text: str) -> None:
        """Write a line of our own among the child's."""
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._log_file.write(f"{stamp} [gai up] {self._plan.name} {text}\n".encode())

    def _last_words(self) -> tuple[Path, tuple[str, ...]]:
        """Give the log that tells more, and its last lines."""
        own = LogFile(self._plan.own_log) if self._plan.own_log else None
        if own is not None and (lines := own.tail(_LAST_LINES)):
            return own.path, lines
        return self._log_file.path, self._log_file.tail(_LAST_LINES)


__all__ = ["Change", "Plan", "Supervisor", "tethered"]
