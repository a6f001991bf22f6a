"""Whether every request of a batch is answered once and paid once, when all is killed at random.

    python -m bench.batch_faults [--short] [--items N] [--seconds N] [--seed N] [--json FILE]

Batches go in as files while gateways, NATS server, nodes and database are killed with `kill -9` at
random moments and started again. At the end files, usage and books are compared by a checker that
knows nothing of the program. Two gateways on PostgreSQL, one on SQLite where there is none.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import msgspec
import structlog
import uvloop

from bench.batch_check import Checked, Given, check
from bench.batch_world import KINDS, MODEL, World, running_world
from bench.books_check import rows_of
from bench.mock_answers import text_of
from bench.processes import StartError, log_tails
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
from garage_ai.ledger import Ledger
from garage_ai.storage import Storage

if TYPE_CHECKING:
    from tests.parts.postgresql import Cluster

__all__ = ["FaultsReport", "main"]

FULL_SECONDS = 600.0
SHORT_SECONDS = 60.0
FULL_ITEMS = 40_000
SHORT_ITEMS = 2_400
BATCHES = 2
TOKENS = 8
FULL_PAUSE = 3.0
SHORT_PAUSE = 1.5
MOST_FAILED = 0.01
"""Part of the requests that may end without an answer: what was killed was not their doing."""
END_SECONDS = 300.0
SLOWEST = 20.0
"""Items a second that are answered at least once nothing is killed: the end is waited for by it."""


class FaultsReport(msgspec.Struct):
    """Everything `bench.batch_faults` writes down."""

    machine: Machine
    database: str
    items: int
    seconds: float = 0.0
    seconds_killing: float = 0.0
    gateways_killed: int = 0
    nodes_killed: int = 0
    nats_killed: int = 0
    databases_killed: int = 0
    findings: list[str] = []
    checked: Checked = msgspec.field(default_factory=Checked)
    verdicts: list[Verdict] = []


class _Made(msgspec.Struct):
    id: str


class _Batch(msgspec.Struct):
    id: str
    status: str
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: msgspec.Raw = msgspec.Raw(b"null")
    """Why it failed."""


def _lines(name: str, count: int) -> dict[str, bytes]:
    """Write the requests of a batch, by the ids that its client gives them."""
    body = {
        "model": MODEL,
        "max_tokens": TOKENS,
        "messages": [{"role": "user", "content": "Count."}],
    }
    return {
        custom: msgspec.json.encode(
            {"custom_id": custom, "method": "POST", "url": "/v1/chat/completions", "body": body}
        )
        for custom in (f"{name}-{number}" for number in range(count))
    }


async def _submit(world: World, lines: dict[str, bytes], name: str) -> _Batch:
    def form() -> aiohttp.FormData:
        data = aiohttp.FormData()
        data.add_field("purpose", "batch")
        data.add_field("file", b"\n".join(lines.values()), filename=f"{name}.jsonl")
        return data

    file = msgspec.json.decode(await world.ask("POST", "/v1/files", form=form), type=_Made)
    asked = {
        "input_file_id": file.id,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    # Asked again after a gateway was killed it is the same batch.
    headers = {"idempotency-key": name}
    body = await world.ask("POST", "/v1/batches", asked=asked, headers=headers)
    return msgspec.json.decode(body, type=_Batch)


async def _killed_meanwhile(world: World, chance: random.Random, pause: float) -> None:
    while True:
        # One of each before the second of any: the first ten seconds kill all that there is.
        for kind in (*chance.sample(KINDS, len(KINDS)), "gateway"):
            await asyncio.sleep(pause * chance.uniform(0.5, 1.5))
            await world.hurt(kind, chance)


async def _ended(world: World, batch: _Batch) -> _Batch:
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        await asyncio.sleep(0.5)
        body = await world.ask("GET", f"/v1/batches/{batch.id}")
        batch = msgspec.json.decode(body, type=_Batch)
    if batch.status != "completed":
        why = bytes(batch.errors).decode()[:500]
        raise StartError(f"{batch.id} is {batch.status}: {why}")
    return batch


async def _file(world: World, file: str | None) -> list[bytes]:
    return (await world.ask("GET", f"/v1/files/{file}/content")).split(b"\n") if file else []


async def _run(world: World, report: FaultsReport, seconds: float, pause: float, seed: int) -> None:
    """Submit, kill for so long, wait for the end, and compare."""
    chance, each = random.Random(seed), report.items // BATCHES
    asked = [_lines(f"b{number}", each) for number in range(BATCHES)]
    begun = time.monotonic()
    killing = asyncio.create_task(_killed_meanwhile(world, chance, pause))
    batches = [await _submit(world, lines, f"b{n}-{seed}") for n, lines in enumerate(asked)]
    waiting = [asyncio.create_task(_ended(world, batch)) for batch in batches]
    await asyncio.wait(waiting, timeout=max(0.0, seconds - (time.monotonic() - begun)))
    killing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await killing  # what went wrong with it is no pass
    report.seconds_killing = time.monotonic() - begun
    await _all_up(world)
    async with asyncio.timeout(END_SECONDS + report.items / SLOWEST):
        ended = await asyncio.gather(*waiting)
    report.seconds = time.monotonic() - begun
    given = [
        Given(
            batch.id,
            list(lines),
            await _file(world, batch.output_file_id),
            await _file(world, batch.error_file_id),
        )
        for batch, lines in zip(ended, asked, strict=True)
    ]
    await _settled(world)
    report.checked = await asyncio.to_thread(check, rows_of(world.database), given, text_of(TOKENS))
    report.findings = await _verified(world)


async def _all_up(world: World) -> None:
    """Start what was just killed when the killing ended."""
    if world.cluster is not None:
        with contextlib.suppress(Exception):
            await asyncio.to_thread(world.cluster.start)
    for part in (world.nats, *world.gateways, *world.nodes):
        if part.child is None or part.child.process.poll() is not None:
            part.start()


async def _settled(world: World) -> None:
    """Wait until the batches' promises have gone back and their items are cleared away."""
    rows = rows_of(world.database)
    left = (
        "SELECT (SELECT COUNT(*) FROM leases WHERE gateway = 'batch' AND state = 'open')"
        " + (SELECT COUNT(*) FROM batch_items)"
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        [(count,)] = await asyncio.to_thread(rows, left)
        if not count:
            return
        await asyncio.sleep(0.2)


async def _verified(world: World) -> list[str]:
    storage = await Storage.open(world.database)
    try:
        seen = await Ledger(storage).verify()
    finally:
        await storage.close()
    return [f"{each.row} {each.what}" for each in seen.findings]


async def _measure(items: int, seconds: float, pause: float, seed: int) -> FaultsReport:
    with tempfile.TemporaryDirectory(prefix="bench-batch-") as name, _cluster() as cluster:
        folder = Path(name)
        report = FaultsReport(machine(), "sqlite" if cluster is None else "postgresql", items)
        warn_if_busy(report.machine)
        async with running_world(folder, cluster) as world:
            try:
                await _run(world, report, seconds, pause, seed)
            except (StartError, TimeoutError):
                console.print(log_tails(folder), style="dim", markup=False, highlight=False)
                raise
            report.gateways_killed = sum(part.killed for part in world.gateways)
            report.nodes_killed = sum(part.killed for part in world.nodes)
            report.nats_killed = world.nats.killed
            report.databases_killed = world.databases_killed
    report.verdicts = _verdicts(report)
    return report


@contextlib.contextmanager
def _cluster() -> Iterator[Cluster | None]:
    if not any(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        yield None
        return
    from tests.parts.postgresql import Cluster

    cluster = Cluster.make(durable=True)
    try:
        yield cluster
    finally:
        cluster.stop()


def _verdicts(report: FaultsReport) -> list[Verdict]:
    seen = report.checked
    killed = [report.gateways_killed, report.nodes_killed, report.nats_killed]
    if report.database == "postgresql":
        killed.append(report.databases_killed)
    return [
        Verdict("kinds of parts never killed", killed.count(0), "", 0, "at most"),
        Verdict("requests without a line", seen.lost, "", 0, "at most"),
        Verdict("lines too many", seen.doubled + seen.strange, "", 0, "at most"),
        Verdict("wrong answers", seen.wrong_answers, "", 0, "at most"),
        Verdict("requests that failed", seen.failed, "", MOST_FAILED * report.items, "at most"),
        Verdict(
            "usage records missing or too many",
            seen.not_recorded + seen.recorded_twice,
            "",
            0,
            "at most",
        ),
        Verdict("books less results", seen.between_books_and_results, "nGAI", 0, "at most"),
        Verdict("promised and not given back", seen.left_leased, "nGAI", 0, "at most"),
        Verdict("faults of the books", len(report.findings), "", 0, "at most"),
    ]


def _show(report: FaultsReport) -> None:
    rows = [
        [name.replace("_", " "), f"{value:,}"]
        for name, value in msgspec.to_builtins(report.checked).items()
    ]
    killed = (
        f"killed: {report.gateways_killed} gateways, {report.nodes_killed} nodes, "
        f"{report.nats_killed} NATS servers, {report.databases_killed} databases"
    )
    times = f"{report.seconds:.0f} s, {report.seconds_killing:.0f} of them under kills"
    title = f"{report.database}: {report.items:,} requests in {times}; {killed}"
    table(title, ["found", "count or nGAI"], rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write down; status 1 when something is not as it should be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="a minute of it")
    parser.add_argument("--items", type=int, help="requests of all batches together")
    parser.add_argument("--seconds", type=float, help="how long parts are killed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args(argv)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    items = arguments.items or (SHORT_ITEMS if arguments.short else FULL_ITEMS)
    seconds = arguments.seconds or (SHORT_SECONDS if arguments.short else FULL_SECONDS)
    pause = SHORT_PAUSE if arguments.short else FULL_PAUSE
    try:
        report = uvloop.run(_measure(items, seconds, pause, arguments.seed))
    except (StartError, TimeoutError) as problem:
        console.print(str(problem) or "the batches did not end", style="red", markup=False)
        return 2
    _show(report)
    print_verdicts(report.verdicts)
    write_json("batch_faults", report, arguments.json)
    return 0 if all(verdict.met for verdict in report.verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
