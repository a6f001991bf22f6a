"""What the sandbox costs: the same engine bare and in its container, turn by turn.

    python -m bench.sandbox --base IMAGE [--short] [--json FILE]

Both run all the time and are asked in pairs in random order, so that what disturbs one disturbs the
other. IMAGE has python3 and libgomp1; without --base the allow-list's is pulled. Run it as
root: the process in the container is looked for under its id, which rootless Podman maps.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil
import uvloop

from bench.quantiles import median, summary
from bench.real import SHORT_WORDS, story, weights
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
from garage_ai.cli.node_run import configure_logs
from garage_ai.node.engines.launch import BareLauncher, Launcher
from garage_ai.node.engines.llamacpp import LlamaEngine
from garage_ai.node.engines.llamacpp_options import LlamaOptions
from garage_ai.node.errors import NodeError
from garage_ai.node.sandbox.build import build_image
from garage_ai.node.sandbox.containers import Containers
from garage_ai.node.sandbox.detect import find_runtime
from garage_ai.node.sandbox.launcher import ContainerLauncher
from garage_ai.node.sandbox.seccomp import write_profile
from garage_ai.node.sandbox.spec import USER
from garage_ai.wire.ids import Digest

__all__ = ["Pair", "SandboxReport", "main", "measure"]

MODEL = "smollm2-bench"
TOKENS = 64
READY_SECONDS = 120.0
COST_BOUND = 2.0
"""Percent of tokens/s."""


class Pair(msgspec.Struct, frozen=True):
    """The same question to both: tokens/s after the first, ms to the first, ms of CPU for each."""

    bare_speed: float
    sandbox_speed: float
    bare_first_ms: float
    sandbox_first_ms: float
    bare_cpu_ms: float
    sandbox_cpu_ms: float


class SandboxReport(msgspec.Struct):
    """What was measured, where, and how it stands to what it should be."""

    machine: Machine
    runtime: str
    pairs: list[Pair]
    verdicts: list[Verdict] = []


@dataclass(frozen=True, slots=True)
class _Took:
    speed: float
    first: float
    cpu: float


async def measure(
    pairs: int, base: str | None, *, warm_ups: int = 3, seed: int = 1
) -> SandboxReport:
    """Start both engines and ask them in turn."""
    described = machine()
    warn_if_busy(described)
    dice = random.Random(seed)
    async with AsyncExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="bench-sandbox-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        launcher = await _container(folder, base)
        engines = {
            "bare": await stack.enter_async_context(_running(folder / "bare", BareLauncher())),
            "sandbox": await stack.enter_async_context(_running(folder / "sandbox", launcher)),
        }
        found = [await _pair(engines, dice) for _ in range(warm_ups + pairs)][warm_ups:]
    runtime = launcher.runtime
    name = f"{runtime.program} {'.'.join(map(str, runtime.version))}"
    return SandboxReport(described, name, found, verdicts(found))


def verdicts(pairs: Sequence[Pair]) -> list[Verdict]:
    """Judge the median of the pairs, and the CPU time of all, which other programs blur less."""
    cost = median([100 * (1 - pair.sandbox_speed / pair.bare_speed) for pair in pairs])
    name = f"tokens/s lost to the sandbox, median of {len(pairs)} pairs"
    bare = sum(pair.bare_cpu_ms for pair in pairs)
    more = 100 * (sum(pair.sandbox_cpu_ms for pair in pairs) / bare - 1)
    return [
        Verdict(name, cost, "%", COST_BOUND, "at most"),
        Verdict("the engine's CPU time for each token, more by", more, "%", COST_BOUND, "at most"),
    ]


async def _container(folder: Path, base: str | None) -> ContainerLauncher:
    runtime = await find_runtime()
    console.print(f"building the image with {runtime.program}", style="dim")
    image = (await build_image(runtime, folder, base)).image
    profile = write_profile(runtime.profile, folder) if runtime.program == "podman" else None
    return ContainerLauncher(Containers(runtime, folder), image, folder / "sandbox", profile)


@asynccontextmanager
async def _running(run: Path, launcher: Launcher) -> AsyncIterator[LlamaEngine]:
    options = LlamaOptions(
        weights=weights(),
        name=MODEL,
        digest=Digest("sha256:" + "0" * 64),
        kind="chat",
        slots=1,
        context=1024,
        threads=1,
    )
    engine = LlamaEngine(options, run=run, logs=run, launcher=launcher)
    ready = asyncio.Event()
    engine.on_change(lambda: ready.set() if engine.state == "ready" else None)
    await engine.start()
    try:
        await asyncio.wait_for(ready.wait(), READY_SECONDS)
        yield engine
    finally:
        await engine.stop()


async def _pair(engines: dict[str, LlamaEngine], dice: random.Random) -> Pair:
    prompt = story(dice, SHORT_WORDS)
    took = {}
    for name in dice.sample(sorted(engines), len(engines)):
        took[name] = await _ask(engines[name], _process(name), prompt)
    bare, sandbox = took["bare"], took["sandbox"]
    return Pair(
        bare.speed,
        sandbox.speed,
        bare.first * 1e3,
        sandbox.first * 1e3,
        bare.cpu * 1e3,
        sandbox.cpu * 1e3,
    )


def _process(name: str) -> psutil.Process:
    """Find the process that computes: the sandbox's is seen from outside, under another user."""
    uid = USER if name == "sandbox" else os.getuid()
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            mine = MODEL in each.cmdline() and each.uids().real == uid
            if mine and each.name().startswith("python") and each.num_threads() > 2:
                return each
    raise NodeError(f"the engine's process ({name}) is not to be found")


async def _ask(engine: LlamaEngine, process: psutil.Process, prompt: str) -> _Took:
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": prompt}],
        "stream": True,
        "temperature": 0,
        "max_tokens": TOKENS,
        "ignore_eos": True,
    }
    (offer,) = engine.offers
    cpu = sum(process.cpu_times()[:2])
    began = time.perf_counter()
    answer = await engine.ask("chat", json.dumps(body).encode(), offer=offer, stream=True)
    moments = []
    try:
        while chunk := await answer.read():
            moments += [time.perf_counter()] * chunk.count(b'"content":"')
    finally:
        answer.close()
    if len(moments) < TOKENS // 2:
        raise NodeError(f"an answer of {len(moments)} tokens; {TOKENS} were asked for")
    cpu = (sum(process.cpu_times()[:2]) - cpu) / len(moments)
    return _Took((len(moments) - 1) / (moments[-1] - moments[0]), moments[0] - began, cpu)


def show(report: SandboxReport) -> None:
    """Print the table."""
    samples = {
        "tokens/s, bare": [pair.bare_speed for pair in report.pairs],
        "tokens/s, sandbox": [pair.sandbox_speed for pair in report.pairs],
        "CPU ms a token, bare": [pair.bare_cpu_ms for pair in report.pairs],
        "CPU ms a token, sandbox": [pair.sandbox_cpu_ms for pair in report.pairs],
        "first token ms, bare": [pair.bare_first_ms for pair in report.pairs],
        "first token ms, sandbox": [pair.sandbox_first_ms for pair in report.pairs],
    }
    rows = [
        [name, f"{found.p50:.2f}", f"{found.mean:.2f}"]
        for name, found in ((name, summary(values)) for name, values in samples.items())
    ]
    table(f"{len(report.pairs)} pairs, {report.runtime}", ["", "p50", "mean"], rows)


def main(argv: list[str] | None = None) -> int:
    """Measure, print table and verdict, write JSON."""
    parser = argparse.ArgumentParser(prog="bench.sandbox", description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="under a minute, rougher")
    parser.add_argument("--base", help="an image of yours with python3 and libgomp1")
    parser.add_argument("--json", type=Path, help="where to write (bench/results/sandbox.json)")
    arguments = parser.parse_args(argv)
    configure_logs()
    try:
        plan = {"pairs": 3, "warm_ups": 1} if arguments.short else {"pairs": 120}
        report = uvloop.run(measure(**plan, base=arguments.base))
    except (NodeError, TimeoutError) as problem:
        console.print(str(problem), style="red", markup=False)
        return 2
    show(report)
    print_verdicts(report.verdicts)
    write_json("sandbox", report, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
