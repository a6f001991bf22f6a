"""How much of an engine a batch gets: items and tokens a second, beside the engine's own.

    python -m bench.batch [--engine mock|llamacpp] [--short] [--json FILE]

The engine alone is loaded by one client for each of its slots, directly. The batch goes as its
users' do: a file is uploaded to a gateway, whose worker has the items answered by a node with the
same engine. Its time is from the upload until it is completed, with its output file written.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import uvloop

from bench.batch_load import BatchClient, batch_client
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
    """How much to measure: batches of so many items, and requests before and after each."""

    batches: int
    items: int
    directly: int
    slots: int
    tokens: int = 32


PLANS: dict[Engine, tuple[Plan, Plan]] = {
    "mock": (Plan(1, 10_000, 2_500, slots=32), Plan(1, 256, 64, slots=16)),
    "llamacpp": (Plan(2, 240, 120, REAL_SLOTS), Plan(1, 16, 16, REAL_SLOTS)),
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
        described, engine, plan.slots, plan.batches * plan.items, direct=[], batch=[], errors=[]
    )
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-batch-")))
        console.print("starting engine and network", style="dim")
        enter = stack.enter_async_context
        direct = await enter(batch_engine(engine, folder, slots=plan.slots, step=STEP))
        network = await enter(running_network(folder, ON_CREDIT))
        await enter(joined_node(network, folder, direct.base_url, direct.model, plan.slots))
        key = await new_key(network)
        prompt = partial(story, dice, SHORT_WORDS)
        client = await enter(batch_client(network, key, direct.model, plan.tokens, prompt))
        report.direct.append(await _directly(direct, plan, dice, report.errors))
        for number in range(plan.batches):
            console.print(f"batch {number + 1} of {plan.batches}", style="dim")
            report.batch.append(await _as_batch(client, plan.items, report.errors))
            report.direct.append(await _directly(direct, plan, dice, report.errors))
    report.verdicts = verdicts(report)
    return report


async def _directly(target: Target, plan: Plan, dice: random.Random, errors: list[str]) -> Rates:
    prompts = tuple(story(dice, SHORT_WORDS) for _ in range(plan.directly))
    extra = (("temperature", 0),)
    workload = Workload(True, plan.slots, plan.tokens, exact=False, prompts=prompts, extra=extra)
    result = await run_load(target, workload, requests=plan.directly, timeout=300)
    errors += result.errors
    return Rates(result.rate, result.chunks / result.wall)


async def _as_batch(client: BatchClient, items: int, errors: list[str]) -> Rates:
    before, began = await client.made(), time.perf_counter()
    ended = await client.ended(await client.submit(items))
    took, done = time.perf_counter() - began, ended.request_counts.completed
    if done != items:
        errors.append(f"{ended.status}: {done} of {items} items")
    return Rates(done / took, (await client.made() - before) / took)


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
