"""How soon the owner has his PC back: a game begins while the real engine is in mid-stream.

    python -m bench.guard [--short] [--runs N] [--json FILE]

`gai up` serves the real small model; a process with the name of a game is started while a stream
runs. Timed from the moment the game's process exists: until the engine's process is gone, which is
when all its memory is free, and until the stream has ended. Then from the game's end until an
answer comes again. On a PC with a graphics card its memory goes with the process as well; that
could not be measured here.
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

import aiohttp
import msgspec
import psutil
import uvloop

from bench.processes import Child, StartError, free_ports, spawn, wait_for
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
    """One game; seconds, and the bytes of memory that the engine held before."""

    freed: float
    stream_ended: float
    back: float
    resident: int


class GuardReport(msgspec.Struct):
    """Everything `bench.guard` writes down."""

    machine: Machine
    runs: list[Run]
    resume_after: float
    verdicts: list[Verdict] = []


@dataclass(frozen=True, slots=True)
class Pc:
    """A running `gai up` with its own node."""

    child: Child
    url: str
    key: str
    game: Path

    def engine(self) -> psutil.Process | None:
        """Find the engine's process under it."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.child.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if any("llamacpp_server" in word for word in process.cmdline()):
                        return process
        return None


@contextlib.asynccontextmanager
async def _running_pc(folder: Path) -> AsyncIterator[Pc]:
    port, nats_port, data = free_ports(), free_ports(2), folder / "network"
    gai = str(Path(sys.executable).with_name("gai"))
    argv = [gai, "up", "--port", str(port), "--nats-port", str(nats_port), "--data-dir", str(data)]
    child = spawn("gai-up", argv, folder)
    try:
        await wait_for(child, lambda: "\nready" in f"\n{child.output()}", PATIENCE)
        limits = [gai, "node", "limits", "--pause-on", GAME, "--resume-after", f"{RESUME_AFTER:g}s"]
        limits += ["--data-dir", str(data / "local-node")]
        await asyncio.to_thread(subprocess.run, limits, check=True, capture_output=True, timeout=30)
        game = folder / GAME
        game.symlink_to(sys.executable)
        key = (data / "admin.key").read_text("utf-8").strip()
        yield Pc(child, f"http://127.0.0.1:{port}/v1/chat/completions", key, game)
    finally:
        child.stop()


async def measure(runs: int) -> GuardReport:
    """Let so many games begin and end."""
    described = machine()
    warn_if_busy(described)
    report = GuardReport(described, [], RESUME_AFTER)
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    with tempfile.TemporaryDirectory(prefix="bench-guard-") as folder:
        async with _running_pc(Path(folder)) as pc:
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
        raise StartError(f"no engine runs under gai up:\n{pc.child.tail()}")
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
        ended = await stream - at
    finally:
        game.communicate(b"\n", timeout=10)
    over = time.monotonic()
    await _until_answered(session, pc)
    return Run(freed, ended, time.monotonic() - over, resident)


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
    async with session.post(pc.url, json=body) as answer:
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
        async with session.post(pc.url, json=body) as answer:
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
    return [Verdict(name, freed, "s", BOUND_SECONDS, "at most")]


def _show(report: GuardReport) -> None:
    rows = []
    for name, samples in (
        ("engine gone", [run.freed for run in report.runs]),
        ("stream ended", [run.stream_ended for run in report.runs]),
        ("answers again after the game", [run.back for run in report.runs]),
    ):
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
    parser.add_argument("--json", type=Path, help="where to write (bench/results/guard.json)")
    arguments = parser.parse_args(argv)
    runs = arguments.runs or (SHORT_RUNS if arguments.short else FULL_RUNS)
    try:
        report = uvloop.run(measure(runs))
    except StartError as problem:
        console.print(str(problem), style="red", markup=False)
        return 2
    _show(report)
    print_verdicts(report.verdicts)
    write_json("guard", report, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
