"""What every test gets: event loop, hypothesis profiles, and a look at what it left behind."""

import asyncio
import gc
import inspect
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Set
from pathlib import Path
from typing import TypeVar

import psutil
import pytest
import structlog
from hypothesis import settings

settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, max_examples=60)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev")
)

pytest_plugins = ["tests.databases"]

T = TypeVar("T")

# Rooms whose tests hold real sockets, processes and tasks.
WATCHED = frozenset({"integration", "e2e"})
PATIENCE = 30.0  # seconds for what is already on its way out


def pytest_configure() -> None:
    """Let tests press Ctrl-C also where this run is in the background, which ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--uvloop", action="store_true", help="run async tests on uvloop")
    parser.addoption(
        "--kills", type=int, default=6, metavar="N", help="kill an agent in a sandbox so many times"
    )


@pytest.fixture(scope="session")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Run async tests on asyncio, which is what nats-py and aiohttp stand on."""
    return "asyncio", {"use_uvloop": bool(request.config.getoption("--uvloop"))}


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> None:
    if not inspect.iscoroutinefunction(obj) or hasattr(obj, "hypothesis"):
        return
    if name.startswith("test") and _is_watched(collector.path):
        pytest.mark.usefixtures("no_task_left_behind")(obj)


@pytest.fixture
async def no_task_left_behind() -> AsyncIterator[None]:
    """Fail the test whose fixtures are all torn down while a task of its own goes on."""
    before = _tasks()
    yield
    deadline = time.monotonic() + PATIENCE
    while left := _tasks() - before:
        if time.monotonic() > deadline:
            pytest.fail(f"tasks left behind: {sorted(map(str, left))}")
        await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test after which a child process or a socket of its own is still there."""
    if not _is_watched(request.path):
        yield
        return
    processes, sockets = _processes(), _sockets()
    yield
    strays = _still_there(lambda: _without_heirs(_processes(), processes), processes)
    for stray in strays:
        stray.kill()
    left = [f"process {stray}" for stray in strays]
    left += sorted(_still_there(_sockets, sockets))
    if left:
        pytest.fail(f"left behind: {left}")


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """Undo how a command set up its logs: to a stderr that is closed when its test is over."""
    yield
    structlog.reset_defaults()


def _is_watched(path: Path) -> bool:
    here = Path(__file__).parent
    return path.is_relative_to(here) and path.relative_to(here).parts[0] in WATCHED


def _still_there(look: Callable[[], Set[T]], before: Set[T]) -> Set[T]:
    deadline = time.monotonic() + PATIENCE
    while left := look() - before:
        gc.collect()
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return left


def _tasks() -> Set[asyncio.Task[object]]:
    # anyio drives tests and fixtures from tasks of its own, which end after ours are looked at.
    return frozenset(
        task for task in asyncio.all_tasks() if "TestRunner." not in str(task.get_coro())
    )


def _processes() -> Set[psutil.Process]:
    return frozenset(psutil.Process().children(recursive=True))


def _without_heirs(found: Set[psutil.Process], before: Set[psutil.Process]) -> Set[psutil.Process]:
    """Leave out what a process that was here before the test has started: that one answers for it.

    A network that several tests share starts its own parts again when a test kills them.
    """
    return frozenset(each for each in found if before.isdisjoint(_ancestors(each)))


def _ancestors(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.parents()
    except psutil.NoSuchProcess:
        return []


def _sockets() -> Set[str]:
    links = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            links.add(str(descriptor.readlink()))
        except FileNotFoundError:  # the one that listed the folder
            continue
    return frozenset(link for link in links if link.startswith("socket:"))
