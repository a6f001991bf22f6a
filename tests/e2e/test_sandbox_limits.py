"""The sandbox's limits, where the host enforces them: rootful Podman, the same command line."""

import asyncio
import json
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.parts.guest import BASE, none_left
from tests.parts.job_caller import until
from tests.parts.node_image import storage
from tests.parts.tree import ROOT

from garage_ai.node.engines.child import Child
from garage_ai.node.engines.llama_server import held
from garage_ai.node.logs import BoundedLog
from garage_ai.node.sandbox.argv import program, run_argv
from garage_ai.node.sandbox.command import Said, ask
from garage_ai.node.sandbox.containers import Containers
from garage_ai.node.sandbox.detect import find_runtime
from garage_ai.node.sandbox.images import image_id, inspect
from garage_ai.node.sandbox.launcher import ContainerLauncher
from garage_ai.node.sandbox.order import RUN
from garage_ai.node.sandbox.seccomp import write_profile
from garage_ai.node.sandbox.spec import MEBI, ContainerSpec, Limits

pytestmark = [pytest.mark.anyio, pytest.mark.system, pytest.mark.timeout(420)]

KILLED = 128 + 9

MEMORY = "x = bytearray(256 << 20); print('took it all')"
PROCESSES = """
import os, time
count = 0
try:
    while count < 200:
        if os.fork() == 0:
            time.sleep(20)
            os._exit(0)
        count += 1
except OSError as error:
    print("no more:", count, error.strerror, flush=True)
os.kill(1, 9) if os.getpid() != 1 else os._exit(0)
"""
BUSY = """
import os, time
began = time.monotonic()
children = []
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        while time.monotonic() - began < 3:
            pass
        os._exit(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
times = os.times()
print(times.children_user + times.children_system, time.monotonic() - began)
"""
FILES = """
held = []
try:
    while len(held) < 5000:
        held.append(open("/dev/null"))
except OSError as error:
    print("no more:", len(held), error.strerror)
"""
SHARED = """
import os
try:
    with open("/dev/shm/x", "wb") as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
except OSError as error:
    print("no more:", error.strerror)
"""


@pytest.fixture(scope="module", autouse=True)
def own_storage(tmp_path_factory: pytest.TempPathFactory, debian_archive: Path) -> Iterator[None]:
    """Keep images and containers of these tests apart from whatever the machine has."""
    with storage(tmp_path_factory.mktemp("storage"), debian_archive):
        yield


async def tried(tmp_path: Path, code: str, limits: Limits) -> Said:
    """Run some Python in a sandbox with these limits; nothing of it is left afterwards."""
    runtime = await find_runtime("podman")
    assert runtime.enforces
    image = await inspect(runtime, BASE)
    assert image is not None
    containers = Containers(runtime, tmp_path, "nlimits")
    spec = ContainerSpec(
        image=image_id(image),
        name=f"gai-{containers.tag}-engine",
        command=("/usr/bin/python3", "-c", code),
        limits=limits,
        labels=containers.labels,
        seccomp=write_profile(runtime.profile, tmp_path),
    )
    said = await ask(run_argv(spec, runtime), seconds=60, folder=tmp_path)
    await none_left(containers)
    return said


DEAF = """
import signal, socket
signal.signal(signal.SIGTERM, signal.SIG_IGN)
server = socket.socket(socket.AF_UNIX)
server.bind("/run/gai/engine.sock")
server.listen()
signal.pause()
"""


async def terminate(containers: Containers, name: str) -> None:
    """Send SIGTERM to a container's first process.

    Its client passes one on only a moment after the start: before that, it leaves by it alone.
    """
    kill = [*program(containers.runtime), "kill", "--signal=TERM", name]
    async with asyncio.timeout(30):
        while not (await ask(kill)).well:  # noqa: ASYNC110 - no runtime tells when it runs
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("how", ["stdin", "signal"])
async def test_an_engine_that_hears_nothing_is_ended_by_the_shell(tmp_path: Path, how: str) -> None:
    """llama-server's image brings only a shell: it ends a deaf engine when its agent does."""
    runtime = await find_runtime("podman")
    containers = Containers(runtime, tmp_path, "nlimits")
    image = await inspect(runtime, BASE)
    assert image is not None
    launcher = ContainerLauncher(
        containers, image_id(image), tmp_path / "run", write_profile(runtime.profile, tmp_path)
    )
    socket = launcher.socket_folder(tmp_path / "run") / "engine.sock"
    socket.touch()
    argv = launcher.argv_of(
        held(f"{RUN}/engine.sock", ("/usr/bin/python3", "-c", DEAF)), seconds=60
    )
    log = BoundedLog(tmp_path / "engine.log")
    child = await Child.start(argv, log, tmp_path, hold_stdin=True)
    try:
        await until(socket.is_socket, 30)
        assert stat.S_IMODE(socket.stat().st_mode) == 0o666
        if how == "stdin":
            assert child._process.stdin is not None
            child._process.stdin.close()
        else:
            await terminate(containers, f"gai-{containers.tag}-probe")
        async with asyncio.timeout(60):
            await child.ended()
        await none_left(containers)
    finally:
        await child.stop()
        await containers.clear()
        log.close()


LIMITS = Limits(memory=96 * MEBI, pids=24, cpus=1.0, shm=16 * MEBI, files=64)


def test_the_bench_of_the_sandbox_runs(tmp_path: Path) -> None:
    """Both engines answer each pair; how much it costs is judged by a person, not here."""
    result = tmp_path / "sandbox.json"
    argv = [sys.executable, "-m", "bench.sandbox", "--short", "--base", BASE]
    argv += ["--json", str(result)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    written = json.loads(result.read_text())
    assert len(written["pairs"]) == 3
    assert all(value > 0 for pair in written["pairs"] for value in pair.values())
    assert "tokens/s lost to the sandbox" in written["verdicts"][0]["name"]


def test_the_bench_of_the_guard_runs_in_it(tmp_path: Path) -> None:
    """Every game ends engine and container, and every end of a game brings an answer."""
    result = tmp_path / "guard.json"
    argv = [sys.executable, "-m", "bench.guard", "--short", "--sandbox", "podman", "--base", BASE]
    argv += ["--json", str(result)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    written = json.loads(result.read_text())
    assert (written["sandbox"], len(written["runs"])) == ("podman", 3)
    for run in written["runs"]:
        assert 0 < run["freed"] < run["container"]
        assert run["back"] > written["resume_after"]
        assert run["resident"] > 50e6
    assert "container gone" in written["verdicts"][1]["name"]


async def test_memory_ends_at_the_limit(tmp_path: Path) -> None:
    """Who takes more is killed, and there is no swap to go to; with enough it works."""
    over = await tried(tmp_path, MEMORY, LIMITS)
    assert (over.status, over.out) == (KILLED, "")
    under = await tried(tmp_path, MEMORY, replace(LIMITS, memory=512 * MEBI))
    assert (under.status, under.out) == (0, "took it all\n")


async def test_the_processor_is_shared(tmp_path: Path) -> None:
    """Two busy processes get half a core between them, whatever there is."""
    said = await tried(tmp_path, BUSY, replace(LIMITS, cpus=0.5))
    used, passed = map(float, said.out.split())
    assert 0 < used < 0.75 * passed


async def test_processes_end_at_the_limit(tmp_path: Path) -> None:
    """A fork bomb stops at the limit, and the host does not notice."""
    said = await tried(tmp_path, PROCESSES, LIMITS)
    assert said.out.startswith("no more:"), said
    assert 0 < int(said.out.split()[2]) < LIMITS.pids


@pytest.mark.parametrize(
    ("code", "why"),
    [(FILES, "Too many open files"), (SHARED, "No space left on device")],
    ids=["files", "shared memory"],
)
async def test_files_and_shared_memory_end_at_the_limit(
    tmp_path: Path, code: str, why: str
) -> None:
    """What is beyond is refused to the process itself, and what is not is given to it."""
    said = await tried(tmp_path, code, LIMITS)
    assert said.out.startswith("no more:")
    assert said.out.strip().endswith(why)


async def test_time_ends_at_the_limit(tmp_path: Path) -> None:
    """A run with a limit is ended by the runtime, whether or not its agent still lives."""
    began = time.monotonic()
    said = await tried(tmp_path, "import time; time.sleep(600)", replace(LIMITS, seconds=3))
    assert said.status != 0
    assert time.monotonic() - began < 60
