"""Chat beside a saturating batch: what a first token takes longer, and what the batch gives up.

    python -m bench.mixed [--engine mock|llamacpp] [--short] [--json FILE]

One client asks for short streams, now and then, through a gateway whose network is idle, and then
while a batch, sent as a file, keeps every slot of the node busy: each chat takes the slot of one
of its items. The batch's own speed is taken without chats and with them. Rounds alternate.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
import uvloop

from bench.batch_load import batch_client
from bench.load import Target, Workload, connect, http_request
from bench.load_protocol import LoadError
from bench.processes import StartError, mock_engine
from bench.product import ON_CREDIT, joined_node, new_key, running_network
from bench.quantiles import median, quantile
from bench.real import MODEL, SHORT_WORDS, SLOTS, small_engine, story
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

__all__ = ["PLANS", "Plan", "batch_engine", "main", "measure"]

STEP = 0.02
"""Seconds between two tokens of each stream of the mock engine."""
ALLOWED = 0.05
"""Seconds beyond one step of the engine that a chat may wait longer for its first token."""

ENDLESS = 20_000
"""Items of a batch that is cancelled before it ends."""

Engine = Literal["mock", "llamacpp"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure; times in seconds, lengths in tokens."""

    rounds: int
    chats: int  # of each kind in a round
    alone: float  # of the batch without chats
    chat_tokens: int = 8
    item_tokens: int = 32
    pause: float = 0.3  # between two chats, on average


PLANS: dict[Engine, tuple[Plan, Plan]] = {
    "mock": (Plan(3, 100, 20.0), Plan(1, 20, 5.0)),
    # Items of one wave end together: the short look is as long as several waves.
    "llamacpp": (Plan(3, 30, 30.0), Plan(1, 4, 12.0, item_tokens=8)),
}


class Waits(msgspec.Struct, frozen=True):
    """How long chats waited for their first token, in milliseconds."""

    chats: int
    p50: float
    p95: float
    worst: float


class MixedReport(msgspec.Struct):
    """Everything `bench.mixed` writes down; speeds in tokens a second, of the batch alone."""

    machine: Machine
    engine: str
    slots: int
    idle: Waits
    mixed: Waits
    batch_alone: float
    batch_beside: float
    given_up: float  # share of the batch's own speed
    preempted: int
    failed: int
    verdicts: list[Verdict] = []


@asynccontextmanager
async def batch_engine(
    engine: Engine, folder: Path, *, slots: int, step: float
) -> AsyncIterator[Target]:
    """Run an engine for the length of a block, and give it as it is reached directly."""
    if engine == "llamacpp":
        async with small_engine(folder) as url:
            yield Target("direct", url, MODEL)
    else:
        async with mock_engine("--slots", str(slots), "--chunk-delay", str(step)) as mock:
            yield Target("direct", mock.base_url, "mock")


async def measure(engine: Engine, plan: Plan, seed: int = 1) -> MixedReport:
    """Start everything, and measure round after round."""
    described, dice = machine(), random.Random(seed)
    warn_if_busy(described)
    idle: list[float] = []
    mixed: list[float] = []
    alone: list[float] = []
    beside: list[float] = []
    failed = 0
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-mixed-")))
        console.print("starting engine and network", style="dim")
        enter = stack.enter_async_context
        direct = await enter(batch_engine(engine, folder, slots=SLOTS, step=STEP))
        network = await enter(running_network(folder, ON_CREDIT))
        await enter(joined_node(network, folder, direct.base_url, direct.model, SLOTS))
        key = await new_key(network)
        target = replace(network.target(direct.model), api_key=key)
        prompt = partial(story, dice, SHORT_WORDS)
        client = await enter(batch_client(network, key, direct.model, plan.item_tokens, prompt))
        chats = _Chats(target, plan, dice)
        await chats.ask(3)  # to warm up
        for number in range(plan.rounds):
            console.print(f"round {number + 1} of {plan.rounds}", style="dim")
            idle += await chats.ask(plan.chats)
            async with client.going(ENDLESS) as batch:
                await asyncio.sleep(plan.alone / 4)  # until it goes evenly
                alone.append(await client.rate(batch, asyncio.sleep(plan.alone)))
                asked = asyncio.create_task(chats.ask(plan.chats))
                beside.append(await client.rate(batch, asked))
                mixed += await asked
                failed += (await client.look(batch)).request_counts.failed
        preempted = await client.preempted()
    report = MixedReport(
        machine=described,
        engine=engine,
        slots=SLOTS,
        idle=_waits(idle),
        mixed=_waits(mixed),
        batch_alone=median(alone),
        batch_beside=median(beside),
        given_up=1 - median(beside) / median(alone) if median(alone) else 0.0,
        preempted=preempted,
        failed=failed,
    )
    report.verdicts = verdicts(report)
    return report


@dataclass(frozen=True, slots=True)
class _Chats:
    """A client that asks now and then."""

    target: Target
    plan: Plan
    dice: random.Random

    async def ask(self, count: int) -> list[float]:
        """Return the milliseconds to the first token of so many streams. Raises: LoadError."""
        workload = Workload(
            stream=True,
            chunks=self.plan.chat_tokens,
            exact=False,
            extra=(("temperature", 0),),
        )
        took = []
        for _ in range(count):
            await asyncio.sleep(self.plan.pause * self.dice.uniform(0.5, 1.5))
            request = http_request(self.target, workload, story(self.dice, SHORT_WORDS))
            connection = await connect(self.target, workload.expect)
            try:
                answer = await connection.ask(request, 60)
            finally:
                connection.close()
            took.append((answer.first_content - answer.sent) * 1e3)
        return took


def _waits(took: Sequence[float]) -> Waits:
    ordered = sorted(took)
    return Waits(len(ordered), quantile(ordered, 0.5), quantile(ordered, 0.95), ordered[-1])


def verdicts(report: MixedReport) -> list[Verdict]:
    """Hold what is promised of the mock engine, whose step is known, and failures of any."""
    found = [Verdict("batch requests that failed", report.failed, "", 0, "at most")]
    if report.engine == "mock":
        growth, bound = report.mixed.p95 - report.idle.p95, (STEP + ALLOWED) * 1e3
        found.append(Verdict("growth of the first token's p95", growth, "ms", bound, "at most"))
    return found


def show(report: MixedReport) -> None:
    """Print what was seen."""
    rows = [
        [name, str(each.chats), f"{each.p50:.1f}", f"{each.p95:.1f}", f"{each.worst:.1f}"]
        for name, each in (("idle network", report.idle), ("beside a batch", report.mixed))
    ]
    table(
        f"first token of a chat, {report.engine}", ["", "chats", "p50 ms", "p95 ms", "worst"], rows
    )
    console.print(
        f"batch: {report.batch_alone:.1f} tokens/s alone, {report.batch_beside:.1f} beside chats: "
        f"{report.given_up:.1%} given up; {report.preempted} times an item gave way"
    )


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write JSON; status 1 when a batch request failed."""
    parser = argparse.ArgumentParser(prog="bench.mixed", description=__doc__.split("\n")[0])
    parser.add_argument("--engine", choices=sorted(PLANS), default="mock")
    parser.add_argument("--short", action="store_true", help="under a minute, rougher")
    parser.add_argument("--json", type=Path, help="where to write (bench/results/mixed.json)")
    arguments = parser.parse_args(argv)
    full, short = PLANS[arguments.engine]
    try:
        report = uvloop.run(measure(arguments.engine, short if arguments.short else full))
    except (StartError, LoadError) as problem:
        console.print(str(problem), style="red", markup=False)
        return 2
    show(report)
    print_verdicts(report.verdicts)
    write_json("mixed", report, arguments.json)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
