"""How much of an engine a batch gets: items and tokens a second, beside the engine's own.

    python -m bench.batch [--engine mock|llamacpp] [--short] [--json FILE]

The engine alone is loaded by one client for each of its slots, directly; the batch goes through a
gateway, NATS and a node to the same engine, with twice as many items open as there are slots, so
that the next one waits where a slot comes free. Segments of the same size alternate.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uvloop

from bench.batch_load import BatchLoad, batch_gateway
from bench.load import Target, Workload, run_load
from bench.load_protocol import LoadError
from bench.mixed import Engine, batch_engine
from bench.processes import StartError
from bench.product import ON_CREDIT, joined_node, new_key, running_network
from bench.quantiles import median
from bench.real import SHORT_WORDS, story
from bench.real import SLOTS as REAL_SLOTS
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

__all__ = ["PLANS", "Plan", "main", "measure"]

SHARE = 0.95
STEP = 0.02
"""Seconds between two tokens of each stream of the mock engine."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure: items of so many tokens, in each segment and each way."""

    segments: int
    items: int
    slots: int
    tokens: int = 32


PLANS: dict[Engine, tuple[Plan, Plan]] = {
    "mock": (Plan(4, 2_500, slots=32), Plan(1, 128, slots=16)),
    "llamacpp": (Plan(3, 96, REAL_SLOTS), Plan(1, 16, REAL_SLOTS)),
}


class Rates(msgspec.Struct, frozen=True):
    """What one segment got, per second."""

    items: float
    tokens: float


class BatchReport(msgspec.Struct):
    """Everything `bench.batch` writes down."""

    machine: Machine
    engine: str
    slots: int
    items: int
    direct: list[Rates]
    batch: list[Rates]
    errors: list[str]
    verdicts: list[Verdict] = []


async def measure(engine: Engine, plan: Plan, seed: int = 1) -> BatchReport:
    """Start everything, and load both ways in turn."""
    described, dice = machine(), random.Random(seed)
    warn_if_busy(described)
    report = BatchReport(
        described, engine, plan.slots, plan.segments * plan.items, direct=[], batch=[], errors=[]
    )
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-batch-")))
        console.print("starting engine, network and a second gateway", style="dim")
        enter = stack.enter_async_context
        direct = await enter(batch_engine(engine, folder, slots=plan.slots, step=STEP))
        network = await enter(running_network(folder, ON_CREDIT))
        await enter(joined_node(network, folder, direct.base_url, direct.model, plan.slots))
        key = await new_key(network)
        gateway = await enter(batch_gateway(network, key, direct.model))
        load = BatchLoad(
            gateway,
            direct.model,
            plan.tokens,
            lambda: story(dice, SHORT_WORDS),
            {"temperature": 0},
        )
        for number in range(plan.segments):
            console.print(f"segment {number + 1} of {plan.segments}", style="dim")
            report.direct.append(await _directly(direct, plan, dice, report.errors))
            report.batch.append(await _as_batch(load, plan))
    report.errors += load.errors
    report.verdicts = verdicts(report)
    return report


async def _directly(target: Target, plan: Plan, dice: random.Random, errors: list[str]) -> Rates:
    prompts = tuple(story(dice, SHORT_WORDS) for _ in range(plan.items))
    extra = (("temperature", 0),)
    workload = Workload(True, plan.slots, plan.tokens, exact=False, prompts=prompts, extra=extra)
    result = await run_load(target, workload, requests=plan.items, timeout=300)
    errors += result.errors
    return Rates(result.rate, result.chunks / result.wall)


async def _as_batch(load: BatchLoad, plan: Plan) -> Rates:
    items, made, began = load.items, load.made, time.perf_counter()
    await load.run(plan.items, 2 * plan.slots)
    took = time.perf_counter() - began
    return Rates((load.items - items) / took, (load.made - made) / took)


def _typical(rates: list[Rates]) -> Rates:
    return Rates(median([each.items for each in rates]), median([each.tokens for each in rates]))


def verdicts(report: BatchReport) -> list[Verdict]:
    """Hold the batch's share of what the engine does, and failures, to bounds."""
    batch, direct = _typical(report.batch), _typical(report.direct)
    items, tokens = batch.items / direct.items, batch.tokens / direct.tokens
    return [
        Verdict("items/s, share of the engine's own", items, "", SHARE, "at least"),
        Verdict("tokens/s, share of the engine's own", tokens, "", SHARE, "at least"),
        Verdict("items that failed", len(report.errors), "", 0, "at most"),
    ]


def show(report: BatchReport) -> None:
    """Print what was seen."""
    rows = [
        [name, f"{_typical(rates).items:.1f}", f"{_typical(rates).tokens:.1f}"]
        for name, rates in (("engine alone", report.direct), ("batch", report.batch))
    ]
    title = f"{report.items} items, {report.engine} with {report.slots} slots"
    table(title, ["", "items/s", "tokens/s"], rows)


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write JSON; status 1 when an item failed."""
    parser = argparse.ArgumentParser(prog="bench.batch", description=__doc__.split("\n")[0])
    parser.add_argument("--engine", choices=sorted(PLANS), default="mock")
    parser.add_argument("--short", action="store_true", help="under a minute, rougher")
    parser.add_argument("--json", type=Path, help="where to write (bench/results/batch.json)")
    arguments = parser.parse_args(argv)
    full, short = PLANS[arguments.engine]
    try:
        report = uvloop.run(measure(arguments.engine, short if arguments.short else full))
    except (StartError, LoadError) as problem:
        console.print(str(problem), style="red", markup=False)
        return 2
    show(report)
    print_verdicts(report.verdicts)
    write_json("batch", report, arguments.json)
    return 1 if report.errors else 0


if __name__ == "__main__":
    sys.exit(main())
