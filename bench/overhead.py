"""What the way through Garage AI costs, against the engine alone and against two peers.

    python -m bench.overhead [--short] [--json FILE] [--only direct,garage,unbilled,vllm-router]

One mock engine serves all contenders. Every round measures every contender in random order, so
whatever else the machine does meets all of them; added time and ratios are taken inside a round
and the median over the rounds is reported.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.contenders import Contender, direct, garage, installed_peers, litellm, vllm_router
from bench.load import Workload, run_load
from bench.overhead_report import CONTENDERS, Report, Round, show, summarise, verdicts
from bench.processes import EngineProcess, Sample, StartError, mock_engine, sample
from bench.report import console, machine, print_verdicts, warn_if_busy, write_json

__all__ = ["CELLS", "FULL", "SHORT", "Plan", "main", "measure"]

CHUNKS = 32
CELLS = tuple(
    Workload(stream=stream, clients=clients, chunks=CHUNKS)
    for stream in (False, True)
    for clients in (1, 16)
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure: seconds for each cell of each contender in each round."""

    rounds: int
    seconds: float
    warm_up: float


FULL = Plan(rounds=9, seconds=1.5, warm_up=1.5)
SHORT = Plan(rounds=3, seconds=0.4, warm_up=0.4)


async def measure(plan: Plan, names: Sequence[str], seed: int = 1) -> Report:
    """Start the contenders of these names and measure them in interleaved rounds."""
    described = machine()
    warn_if_busy(described)
    rounds: list[Round] = []
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-overhead-")))
        engine = await stack.enter_async_context(mock_engine())
        contenders = await _start(names, engine, folder, stack)
        await _warm_up(contenders, plan)
        dice = random.Random(seed)
        for number in range(plan.rounds):
            console.print(f"round {number + 1} of {plan.rounds}", style="dim")
            for workload in CELLS:
                for contender in dice.sample(contenders, len(contenders)):
                    rounds.append(await _cell(number, contender, workload, plan, engine))
        memory = {contender.name: _memory(contender) for contender in contenders}
    report = Report(machine=described, chunks=CHUNKS, rounds=rounds, memory_bytes=memory)
    report.cells = summarise(rounds)
    report.verdicts = verdicts(rounds)
    return report


async def _start(
    names: Sequence[str], engine: EngineProcess, folder: Path, stack: AsyncExitStack
) -> list[Contender]:
    contenders = []
    for name in names:
        console.print(f"starting {name}", style="dim")
        if name == "direct":
            contenders.append(direct(engine))
        elif name == "unbilled":
            pass  # comes with the network
        elif name == "garage":
            found = await stack.enter_async_context(garage(engine.base_url, folder))
            contenders += [each for each in found if each.name in names]
        elif name == "vllm-router":
            contenders.append(await stack.enter_async_context(vllm_router(engine.base_url, folder)))
        else:
            contenders.append(await stack.enter_async_context(litellm(engine.base_url, folder)))
    return contenders


async def _warm_up(contenders: Sequence[Contender], plan: Plan) -> None:
    for contender in contenders:
        for workload in CELLS:
            await run_load(contender.target, workload, seconds=plan.warm_up / len(CELLS))


async def _cell(
    number: int, contender: Contender, workload: Workload, plan: Plan, engine: EngineProcess
) -> Round:
    roles = {**contender.roles, "mock engine": [engine.child.pid], "load client": [os.getpid()]}
    before = sample(roles)
    result = await run_load(contender.target, workload, seconds=plan.seconds)
    after = sample(roles)
    latency, first = result.latency, result.first_token
    done = max(1, result.requests)
    return Round(
        number=number,
        contender=contender.name,
        cell=workload.name,
        requests=result.requests,
        errors=len(result.errors),
        first_errors=result.errors[:3],
        rate=result.rate,
        p50_ms=latency.p50 * 1e3,
        p99_ms=latency.p99 * 1e3,
        first_p50_ms=first.p50 * 1e3,
        cpu_us={role: (after[role].cpu - before[role].cpu) / done * 1e6 for role in roles},
    )


def _memory(contender: Contender) -> dict[str, int]:
    used: dict[str, Sample] = sample(contender.roles)
    return {role: one.rss for role, one in used.items() if one.rss}


def _names(given: str | None) -> list[str]:
    if given is None:
        return ["direct", "garage", "unbilled", *installed_peers()]
    names = given.split(",")
    unknown = set(names) - set(CONTENDERS)
    if unknown:
        raise SystemExit(
            f"unknown: {', '.join(sorted(unknown))} (there are: {', '.join(CONTENDERS)})"
        )
    return names


def main(argv: list[str] | None = None) -> int:
    """Measure, print tables and verdicts, write JSON; status 1 when a request failed."""
    parser = argparse.ArgumentParser(prog="bench.overhead", description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="under a minute, rougher")
    parser.add_argument("--json", type=Path, help="where to write (bench/results/overhead.json)")
    parser.add_argument("--only", help="contenders, separated by commas")
    arguments = parser.parse_args(argv)
    names = _names(arguments.only)
    try:
        report = uvloop.run(measure(SHORT if arguments.short else FULL, names))
    except StartError as problem:
        console.print(str(problem), style="red")
        return 2
    show(report)
    print_verdicts(report.verdicts)
    write_json("overhead", report, arguments.json)
    return 1 if any(one.errors for one in report.rounds) else 0


if __name__ == "__main__":
    sys.exit(main())
