"""Child processes of a measurement: started, waited for, sampled, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import functools
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import psutil

__all__ = [
    "Child",
    "EngineProcess",
    "Sample",
    "StartError",
    "answers",
    "family",
    "free_ports",
    "log_tails",
    "mock_engine",
    "sample",
    "spawn",
    "wait_for",
]

ROOT = Path(__file__).resolve().parent.parent
PORTS = range(12_000, 32_000)
_given: set[int] = set()
PR_SET_PDEATHSIG = 1
POLL = 0.05


class StartError(Exception):
    """A process did not become ready."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process that was started here; its output goes to a file."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self.process.pid

    def output(self) -> str:
        """Return what it has printed so far."""
        return self.log.read_text("utf-8", "replace")

    def tail(self, lines: int = 15) -> str:
        """Return its last lines, for an error message."""
        return "\n".join(self.output().splitlines()[-lines:])

    def stop(self, timeout: float = 10.0) -> None:
        """End it: SIGTERM, then SIGKILL to it and all that it started."""
        relatives = _relatives(self.pid)
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout)
        for process in relatives:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(timeout)


@dataclass(frozen=True, slots=True)
class Sample:
    """What one role has used so far: CPU seconds since its start, resident bytes now."""

    cpu: float
    rss: int

    def __add__(self, other: Sample) -> Sample:
        return Sample(self.cpu + other.cpu, self.rss + other.rss)


def spawn(
    name: str,
    argv: Sequence[str],
    folder: Path,
    environment: Mapping[str, str] | None = None,
) -> Child:
    """Start a process that dies with this one and writes to `folder/NAME.log`."""
    log = folder / f"{name}.log"
    libc = ctypes.CDLL(None)

    def die_with_parent() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    with log.open("wb") as output:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            preexec_fn=die_with_parent,  # noqa: PLW1509  # one thread only at this point
        )
    return Child(name, process, log)


async def wait_for(
    child: Child, ready: Callable[[], bool], timeout: float, what: str = "ready"
) -> None:
    """Wait until `ready` says so; raises StartError with the child's last lines otherwise."""
    deadline = time.monotonic() + timeout
    while not await asyncio.to_thread(ready):
        if child.process.poll() is not None:
            raise StartError(f"{child.name} ended before it was {what}:\n{child.tail()}")
        if time.monotonic() > deadline:
            raise StartError(f"{child.name} not {what} in {timeout:g} s:\n{child.tail()}")
        await asyncio.sleep(POLL)


def answers(url: str, api_key: str = "", contains: str = "") -> bool:
    """Say whether a GET is answered with 200 and that text."""
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        with urlopen(Request(url, headers=headers), timeout=5) as answer:  # noqa: S310
            return contains in answer.read().decode("utf-8", "replace")
    except (URLError, OSError):
        return False


def log_tails(folder: Path, lines: int = 6) -> str:
    """Return the last lines of every log under a folder, for a report of what went wrong."""
    parts = []
    for log in sorted(folder.rglob("*.log")):
        last = log.read_text("utf-8", "replace").splitlines()[-lines:]
        parts += [f"--- {log.relative_to(folder)}", *last]
    return "\n".join(parts)


def free_ports(count: int = 1) -> int:
    """Return the first of that many free neighbouring TCP ports on loopback, for this process.

    They lie below those that systems give to who dials out, so that none of them takes one before
    it is listened on; nor is any given twice, here or by another process while this one lives.
    """
    for _ in range(200):
        port = PORTS.start + secrets.randbelow(len(PORTS) - count + 1)
        ports = range(port, port + count)
        if _given.isdisjoint(ports) and all(map(_is_free, ports)) and _claim(ports):
            _given.update(ports)
            return port
    raise StartError(f"no {count} free neighbouring ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _claim(ports: range) -> bool:
    """Hold ports against other processes that look for free ones, until this process ends.

    A port is the byte of its number in one file: locks of bytes need no further one.
    """
    try:
        fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, len(ports), ports.start)
    except OSError:
        return False
    return True


@functools.cache
def _claims() -> int:
    path = Path(tempfile.gettempdir(), f"gai-ports-{os.getuid()}")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def sample(roles: Mapping[str, Sequence[int]]) -> dict[str, Sample]:
    """Read CPU time and memory of each role's processes; a vanished one counts as nothing."""
    return {role: sum(map(_sample_one, pids), Sample(0.0, 0)) for role, pids in roles.items()}


def _sample_one(pid: int) -> Sample:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        times = process.cpu_times()
        return Sample(times.user + times.system, process.memory_info().rss)
    return Sample(0.0, 0)


def family(pid: int) -> list[int]:
    """Return a process and all that it has started, empty when it is gone."""
    return [process.pid for process in _relatives(pid)]


def _relatives(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@dataclass(frozen=True, slots=True)
class EngineProcess:
    """A mock engine in a process of its own."""

    child: Child
    port: int

    @property
    def base_url(self) -> str:
        """Return its base URL with /v1."""
        return f"http://127.0.0.1:{self.port}/v1"


@contextlib.asynccontextmanager
async def mock_engine(*options: str) -> AsyncIterator[EngineProcess]:
    """Run `python -m bench.mock_engine` with these options for the length of a block."""
    with tempfile.TemporaryDirectory(prefix="bench-mock-") as folder:
        argv = [sys.executable, "-m", "bench.mock_engine", "--port", "0", *options]
        child = spawn("mock", argv, Path(folder))
        try:
            await wait_for(child, lambda: child.output().endswith("\n"), 15)
            yield EngineProcess(child, int(child.output().split()[1]))
        finally:
            child.stop()
