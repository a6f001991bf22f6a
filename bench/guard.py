"""How soon the owner has his PC back: a game begins while the real engine is in mid-stream.

    python -m bench.guard [--sandbox podman] [--base IMAGE] [--short] [--runs N] [--json FILE]

`gai up` serves the real small model; a process with the name of a game is started while a stream
runs. Timed from the moment the game's process exists: until the engine's process is gone, which is
when all its memory is free, and until the stream has ended. Then from the game's end until an
answer comes again. With `--sandbox` the engine of a node of its own is in a container, and its end
is timed as well; IMAGE has python3 and libgomp1, without it the allow-list's is pulled. On a PC
with a graphics card its memory goes with the process as well; that could not be measured here.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import aiohttp
import msgspec
import psutil
import uvloop

from bench.processes import Child, StartError, free_ports, spawn, wait_for
from bench.product import BUILD_SECONDS, do, gai, new_token, running_network
from bench.quantiles import quantile
from bench.report import (
    Machine,
    Verdict,
    console,
    machine,
    print_verdicts,
    table,
    warn_if_busy,
    write_json,
)
from garage_ai.node.engines.launch import SOCKET
from garage_ai.node.engines.link import listener_of
from garage_ai.node.errors import NodeError
from garage_ai.node.folder import NodeFolder
from garage_ai.node.guard.limits import Limits, save_limits
from garage_ai.node.sandbox.containers import Containers
from garage_ai.node.sandbox.detect import look_at
from garage_ai.node.sandbox.images import remove_built
from garage_ai.node.sandbox.spec import Program

__all__ = ["GuardReport", "Run", "main", "measure", "verdicts"]

FULL_RUNS = 100
SHORT_RUNS = 3
GAME = "bench-guard-game"
RESUME_AFTER = 1.0  # seconds; the default of twenty would only make the measurement longer
BOUND_SECONDS = 2.0
PATIENCE = 60.0
LOOK = 0.002
MODEL = "garage-chat"
STORY = {"role": "user", "content": "Tell a very long story about a garage."}


class Run(msgspec.Struct, frozen=True):
    """One game; seconds, and the bytes of memory that the engine held before.

    `container` is until none is listed any more, asked again and again; None for a bare engine.
    """

    freed: float
    stream_ended: float
    back: float
    resident: int
    container: float | None = None


class GuardReport(msgspec.Struct):
    """Everything `bench.guard` writes down."""

    machine: Machine
    runs: list[Run]
    resume_after: float
    sandbox: str = "none"
    verdicts: list[Verdict] = []


@dataclass(frozen=True, slots=True)
class Pc:
    """A PC that lends; `child` is what its engine runs under, unless that is in `containers`."""

    child: Child
    url: str
    key: str
    game: Path
    node: NodeFolder
    containers: Containers | None = None

    def engine(self) -> psutil.Process | None:
        """Find the engine's process; one in a container is known by its socket."""
        if self.containers is not None:
            pid = listener_of(str(self.node.run / "engine" / SOCKET))
            return psutil.Process(pid) if pid is not None else None
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.child.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if any("llamacpp_server" in word for word in process.cmdline()):
                        return process
        return None


@contextlib.asynccontextmanager
async def _bare_pc(folder: Path) -> AsyncIterator[Pc]:
    port, nats_port, data = free_ports(), free_ports(2), folder / "network"
    argv = gai("up", "--port", str(port), "--nats-port", str(nats_port), "--data-dir", str(data))
    child = spawn("gai-up", argv, folder)
    try:
        await wait_for(child, lambda: "\nready" in f"\n{child.output()}", PATIENCE)
        limits = ["node", "limits", "--pause-on", GAME, "--resume-after", f"{RESUME_AFTER:g}s"]
        await do(*limits, "--data-dir", str(data / "local-node"))
        key = (data / "admin.key").read_text("utf-8").strip()
        node = NodeFolder(data / "local-node")
        yield Pc(child, f"http://127.0.0.1:{port}", key, _game(folder), node)
    finally:
        child.stop()


@contextlib.asynccontextmanager
async def _fenced_pc(folder: Path, program: Program, base: str | None) -> AsyncIterator[Pc]:
    node = NodeFolder(folder / "node")
    node.prepare()
    save_limits(node.path, Limits(pause_on=(GAME,), resume_after=RESUME_AFTER))
    console.print(f"building the image with {program}", style="dim")
    based = ["--base", base] if base else []
    fenced = ["--sandbox", program, "--data-dir", str(node.path)]
    await do("node", "image", *based, *fenced, seconds=BUILD_SECONDS)
    async with running_network(folder) as network:
        token = await new_token(network, bare=True)
        child = spawn("gai-node", gai("node", "join", network.url, token, *fenced), folder)
        containers = Containers(await look_at(program), node.path)
        try:
            yield Pc(child, network.url, network.key, _game(folder), node, containers)
        finally:
            child.stop()
            await containers.clear()
            await remove_built(node.path)


def _game(folder: Path) -> Path:
    game = folder / GAME
    game.symlink_to(sys.executable)
    return game


async def measure(
    runs: int, sandbox: Program | None = None, base: str | None = None
) -> GuardReport:
    """Let so many games begin and end."""
    described = machine()
    warn_if_busy(described)
    report = GuardReport(described, [], RESUME_AFTER, sandbox or "none")
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    with tempfile.TemporaryDirectory(prefix="bench-guard-") as name:
        folder = Path(name)
        running = _fenced_pc(folder, sandbox, base) if sandbox else _bare_pc(folder)
        async with running as pc:
            headers = {"authorization": f"Bearer {pc.key}"}
            async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
                await _until_answered(session, pc)
                for number in range(runs):
                    report.runs.append(await _one(session, pc))
                    if (number + 1) % max(1, runs // 10) == 0:
                        console.print(f"{number + 1} games", style="dim")
    report.verdicts = verdicts(report.runs)
    return report


async def _one(session: aiohttp.ClientSession, pc: Pc) -> Run:
    engine = pc.engine()
    if engine is None:
        raise StartError(f"no engine runs:\n{pc.child.tail()}")
    resident = engine.memory_info().rss
    begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    stream = asyncio.create_task(_stream(session, pc, begun))
    await asyncio.wait_for(asyncio.shield(begun), PATIENCE)
    at = time.monotonic()
    game = subprocess.Popen(  # noqa: ASYNC220 - it returns once the process is there
        [pc.game, "-c", "input()"], stdin=subprocess.PIPE
    )
    try:
        freed = await _gone(engine) - at
        cleared = await _cleared(pc.containers) - at if pc.containers is not None else None
        ended = await stream - at
    finally:
        game.communicate(b"\n", timeout=10)
    over = time.monotonic()
    await _until_answered(session, pc)
    return Run(freed, ended, time.monotonic() - over, resident, cleared)


async def _cleared(containers: Containers) -> float:
    """Wait until the runtime lists no container any more, and say when that was known."""
    async with asyncio.timeout(PATIENCE):
        while await containers.list():  # noqa: ASYNC110 - no runtime tells when it is gone
            await asyncio.sleep(LOOK)
    return time.monotonic()


async def _gone(engine: psutil.Process) -> float:
    deadline = time.monotonic() + PATIENCE
    while _lives(engine):
        if time.monotonic() > deadline:
            raise StartError(f"the engine was still there after {PATIENCE:g} s")
        await asyncio.sleep(LOOK)
    return time.monotonic()


def _lives(engine: psutil.Process) -> bool:
    """Tell whether it holds memory; one that waits to be reaped holds none."""
    try:
        return engine.is_running() and engine.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def _stream(session: aiohttp.ClientSession, pc: Pc, begun: asyncio.Future[None]) -> float:
    """Read a stream to its end, however it ends, and say when that was."""
    body = {"model": MODEL, "messages": [STORY], "stream": True, "max_tokens": 2000}
    async with session.post(f"{pc.url}/v1/chat/completions", json=body) as answer:
        async for line in answer.content:
            if b'"content"' in line and not begun.done():
                begun.set_result(None)
    if not begun.done():
        begun.set_exception(StartError(f"the stream ended at once, with {answer.status}"))
    return time.monotonic()


async def _until_answered(session: aiohttp.ClientSession, pc: Pc) -> None:
    deadline = time.monotonic() + PATIENCE
    body = {"model": MODEL, "messages": [STORY], "max_tokens": 1}
    while True:
        async with session.post(f"{pc.url}/v1/chat/completions", json=body) as answer:
            page = await answer.read()
            if answer.status == 200:
                return
        if time.monotonic() > deadline:
            raise StartError(f"no answer after the game, at last: {json.loads(page)}")
        await asyncio.sleep(0.05)


def verdicts(runs: list[Run]) -> list[Verdict]:
    """Compare with what was promised."""
    freed = quantile(sorted(run.freed for run in runs), 0.95)
    name = "memory free after a game began, p95"
    found = [Verdict(name, freed, "s", BOUND_SECONDS, "at most")]
    cleared = sorted(run.container for run in runs if run.container is not None)
    if cleared:
        name = "container gone after a game began, p95"
        found.append(Verdict(name, quantile(cleared, 0.95), "s", BOUND_SECONDS, "at most"))
    return found


def _show(report: GuardReport) -> None:
    rows = []
    for name, samples in (
        ("engine gone", [run.freed for run in report.runs]),
        ("container gone", [run.container for run in report.runs if run.container is not None]),
        ("stream ended", [run.stream_ended for run in report.runs]),
        ("answers again after the game", [run.back for run in report.runs]),
    ):
        if not samples:
            continue
        ordered = sorted(samples)
        figures = [quantile(ordered, share) for share in (0.5, 0.95, 1.0)]
        rows.append([name, *(f"{figure:.2f} s" for figure in figures)])
    table(f"{len(report.runs)} games", ["from the game on", "p50", "p95", "worst"], rows)
    resident = quantile(sorted(run.resident for run in report.runs), 0.5)
    console.print(f"the engine held {resident / 1e6:.0f} MB before a game, and nothing after")


def main(argv: list[str] | None = None) -> int:
    """Measure, print a table and a verdict, write JSON."""
    parser = argparse.ArgumentParser(prog="bench.guard", description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help=f"{SHORT_RUNS} games")
    parser.add_argument("--runs", type=int, metavar="N", help=f"how many games ({FULL_RUNS})")
    parser.add_argument("--sandbox", choices=get_args(Program), help="in a container of this one")
    parser.add_argument("--base", metavar="IMAGE", help="an image with python3 and libgomp1")
    parser.add_argument("--json", type=Path, help="where to write (bench/results/guard.json)")
    arguments = parser.parse_args(argv)
    runs = arguments.runs or (SHORT_RUNS if arguments.short else FULL_RUNS)
    try:
        report = uvloop.run(measure(runs, arguments.sandbox, arguments.base))
    except (StartError, NodeError, TimeoutError, subprocess.TimeoutExpired) as problem:
        console.print(str(problem), style="red", markup=False)
        return 2
    _show(report)
    print_verdicts(report.verdicts)
    write_json("guard", report, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
