"""An engine's process: started, heard, ended."""

import asyncio
import contextlib
import re
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from garage_ai.node.errors import EngineLost, EngineTimeout
from garage_ai.node.fitting.signs import says_out_of_memory
from garage_ai.node.logs import BoundedLog

STOP_SECONDS: Final = 3.0
_READY: Final = b"listening "
_QUOTES: Final = b"WARNING: JSON schema"
"""How llama.cpp begins a line that repeats a client's schema, at any verbosity."""
_LAST_LINES: Final = 5
_MAX_LINE: Final = 64 * 1024


class Child:
    """One run of an engine's process; what it says goes to the log."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        log: BoundedLog,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        self._process = process
        self._log = log
        self._on_line = on_line
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._keep: re.Pattern[bytes] | None = None
        self._ready = asyncio.Event()
        self.said_out_of_memory = False
        self.was_killed = False
        """By us, with SIGKILL."""
        self.first_inside: int | None = None
        """The first process of its container as this PC counts it, once that is known."""
        self._finder: asyncio.Task[None] | None = None
        self._reader = asyncio.create_task(self._read(), name="engine-log")

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        log: BoundedLog,
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
        hold_stdin: bool = False,
    ) -> "Child":
        """Start it in a session of its own: Ctrl-C at the terminal is the agent's to handle.

        `environment` None is the agent's own; `on_line` hears all that it says.
        With `hold_stdin` its stdin stays open as long as this process lives, and no longer.
        Raises: EngineLost when it cannot be started.
        """
        # Nothing is ever written to the pipe; the kernel closes our end whatever we die of.
        stdin = asyncio.subprocess.PIPE if hold_stdin else asyncio.subprocess.DEVNULL
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *argv,
                stdin=stdin,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                cwd=folder,
                env=environment,
                start_new_session=True,
                limit=_MAX_LINE,
            )
        )
        try:
            return cls(await asyncio.shield(starting), log, on_line)
        except OSError as error:
            raise EngineLost(f"the engine cannot be started: {error.strerror}") from error
        except asyncio.CancelledError:
            # Broken off half-way, asyncio would wait for as long as any grandchild has its pipe.
            with contextlib.suppress(OSError):
                await cls(await starting, log, on_line).stop()
            raise

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def pids(self) -> frozenset[int]:
        """The process we started, and the first in its container, which is no child of it."""
        return frozenset(pid for pid in (self.pid, self.first_inside) if pid is not None)

    def find(self, first: Callable[[], Awaitable[int | None]]) -> None:
        """Have it found out, beside all else and until its end, which process is that."""
        self._finder = asyncio.create_task(self._find(first), name="engine-pid")

    async def _find(self, first: Callable[[], Awaitable[int | None]]) -> None:
        self.first_inside = await first()

    @property
    def code(self) -> int | None:
        """How it ended, negative for a signal; None while it runs."""
        return self._process.returncode

    async def ready(self, seconds: float) -> None:
        """Wait until it says that it listens. Raises: EngineLost, EngineTimeout."""
        ready = asyncio.ensure_future(self._ready.wait())
        try:
            await asyncio.wait(
                {ready, self._reader}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            ready.cancel()
        if self._ready.is_set():
            return
        if self._reader.done():
            code = await self.ended()
            raise EngineLost(f"the engine ended with {describe(code)}{self._said()}")
        raise EngineTimeout(f"the engine was not ready within {seconds:g} s")

    async def ended(self) -> int:
        """Wait for its end and give the exit status; negative for a signal."""
        return await self._process.wait()

    @property
    def last_words(self) -> str:
        """The last line it said that is not empty; empty when there was none."""
        return next((line for line in reversed(self._last) if line), "")

    def keep_only(self, pattern: re.Pattern[bytes]) -> None:
        """Let go unheard, from now on, what does not begin like this: it may quote requests."""
        self._keep = pattern

    async def all_read(self) -> None:
        """Wait, a second at most, until all that it said before its end was heard."""
        await asyncio.wait({self._reader}, timeout=1)

    async def stop(self) -> None:
        """End it: asked first, killed after three seconds."""
        if self._finder is not None:
            self._finder.cancel()
            await asyncio.wait({self._finder}, timeout=STOP_SECONDS)
        self.first_inside = None
        for how in (signal.SIGTERM, signal.SIGKILL):
            self.was_killed = self.was_killed or how == signal.SIGKILL
            if self.was_killed and self._process.stdin is not None:
                self._process.stdin.close()  # what it started, and did not end, ends by that
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(how)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
                break
        # A grandchild that keeps the pipe open must not keep us.
        self._process._transport.close()  # type: ignore[attr-defined]  # no other way to it
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader

    def kill(self) -> None:
        """End it now; `ended` tells when it has."""
        self.was_killed = True
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def interrupt(self) -> None:
        """Have its warden end it now, without asking it first."""
        self.was_killed = True
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)

    async def _read(self) -> None:
        output = self._process.stdout
        if output is None:
            return
        while True:
            try:
                line = await output.readline()
            except ValueError:
                # Longer than the buffer; asyncio has dropped it.
                continue
            if not line:
                return
            if line.startswith(_READY):
                self._ready.set()
            if line.startswith(_QUOTES) or not self._kept(line):
                continue
            words = line.decode(errors="replace").strip()
            self._last.append(words[:200])
            self.said_out_of_memory = self.said_out_of_memory or says_out_of_memory(words)
            self._log.write(line)
            if self._on_line is not None:
                self._on_line(words)

    def _kept(self, line: bytes) -> bool:
        return self._keep is None or self._keep.match(line) is not None

    def _said(self) -> str:
        return f"; it said: {self.last_words}" if self.last_words else ""


def describe(code: int) -> str:
    """Say in words how a process ended."""
    if code >= 0:
        return f"status {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


__all__ = ["Child", "describe"]
