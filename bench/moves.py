"""Nodes that are killed or taken back under running streams: does any client notice?

    python -m bench.moves [--short] [--moves N] [--json FILE]

Volunteers lend mock engines and clients read streams all the time. One node after the other is
killed with -9 or stopped in a hurry by its owner, and comes back. Every stream is checked word by
word. Gaps are the gateway's, from its usage records; beside them stands what clients heard.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import aiohttp
import msgspec
import uvloop

from bench.mock_answers import text_of
from bench.moves_nodes import Volunteer
from bench.moves_report import MovesReport, gaps_of, show, verdicts
from bench.processes import StartError, log_tails, mock_engine
from bench.product import Network, running_network
from bench.report import console, machine, print_verdicts, warn_if_busy, write_json

__all__ = ["FULL", "SHORT", "Plan", "main", "measure"]

NODES = 3
CHUNKS = 100
CHUNK_SECONDS = 0.02
TEXT = text_of(CHUNKS)
STREAM_SECONDS = 60.0
BODY = {"model": "mock", "messages": [{"role": "user", "content": "Count."}], "stream": True}
PAGE = 1000  # usage records a call


@dataclass(frozen=True, slots=True)
class Plan:
    """How many moves to see, and how many clients read at a time."""

    moves: int
    clients: int


FULL = Plan(moves=1_000, clients=24)
SHORT = Plan(moves=30, clients=12)


@dataclass(slots=True)
class _Tally:
    """What clients saw: the longest silence of each stream, by its request's id."""

    silences: dict[str, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    enough: bool = False


class _Part(msgspec.Struct):
    outcome: str
    gap_s: float | None


class _Record(msgspec.Struct):
    request_id: str
    parts: list[_Part]


class _Usage(msgspec.Struct):
    records: list[_Record]
    before: int | None


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta
    finish_reason: str | None = None


class _Event(msgspec.Struct):
    id: str = ""
    choices: list[_Choice] = []
    error: dict[str, str | None] = {}


async def measure(plan: Plan) -> MovesReport:
    """Hurt nodes under streams until there were enough moves, and read what became of them."""
    described = machine()
    warn_if_busy(described)
    tally, faults = _Tally(), 0
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-moves-")))
        pace = ("--chunks", str(CHUNKS), "--chunk-delay", str(CHUNK_SECONDS))
        engine = await stack.enter_async_context(mock_engine(*pace))
        network = await stack.enter_async_context(running_network(folder))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(headers={"authorization": f"Bearer {network.key}"})
        )
        nodes = [Volunteer(network, engine, folder / f"n{n}", session) for n in range(NODES)]
        for node in nodes:
            stack.callback(node.end)
            await node.join()
        clients = [asyncio.create_task(_read_on(network, tally)) for _ in range(plan.clients)]
        try:
            faults = await _hurt(nodes, network, session, plan.moves, tally)
        finally:
            tally.enough = True
            await asyncio.wait(clients, timeout=STREAM_SECONDS)
        await asyncio.sleep(1)  # usage is written within 50 ms
        records = await _records(network, session)
        if tally.errors:
            console.print(log_tails(folder), style="dim", markup=False, highlight=False)
    report = _reported(tally, records, faults)
    report.machine = described
    report.verdicts = verdicts(report, plan.moves)
    return report


async def _hurt(
    nodes: list[Volunteer],
    network: Network,
    session: aiohttp.ClientSession,
    wanted: int,
    tally: _Tally,
) -> int:
    """Kill and hand back in turns, one node at a time; the others serve meanwhile."""
    faults = 0
    for number, node in enumerate(cycle(nodes)):
        if number % 2:
            await node.hand_back()
        else:
            node.kill()
        faults += 1
        await node.come_back()
        moved = await _moves(network, session)
        if faults % 20 == 0:
            console.print(f"{moved:,} moves, {len(tally.silences):,} streams", style="dim")
        if moved >= wanted or len(tally.errors) > wanted:
            break
    return faults


async def _moves(network: Network, session: aiohttp.ClientSession) -> int:
    """Read how many moves the gateway has counted."""
    async with session.get(f"{network.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    counted = [line for line in lines if line.startswith("gai_stream_moves_total{")]
    return int(sum(float(line.rpartition(" ")[2]) for line in counted))


async def _read_on(network: Network, tally: _Tally) -> None:
    """Read one stream after the other, each on a connection of its own."""
    timeout = aiohttp.ClientTimeout(total=STREAM_SECONDS)
    headers = {"authorization": f"Bearer {network.key}", "connection": "close"}
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        while not tally.enough:
            try:
                await _read(network, session, tally)
            except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError, LookupError) as error:
                tally.errors.append(f"{type(error).__name__}: {error}")


async def _read(network: Network, session: aiohttp.ClientSession, tally: _Tally) -> None:
    """Read a stream and check all of it."""
    text, ids, ends, silence = "", set(), [], 0.0
    async with session.post(f"{network.url}/v1/chat/completions", json=BODY) as answer:
        if answer.status != 200:
            raise LookupError(await answer.text())
        last, done = time.perf_counter(), False
        async for line in answer.content:
            if not line.startswith(b"data: "):
                continue
            if line == b"data: [DONE]\n":
                done = True
                break
            event = msgspec.json.decode(line[6:], type=_Event)
            if event.error:
                raise LookupError(event.error)
            now = time.perf_counter()
            silence, last = max(silence, now - last), now
            ids.add(event.id)
            text += event.choices[0].delta.content or ""
            ends += [event.choices[0].finish_reason] if event.choices[0].finish_reason else []
        request = answer.headers.get("x-request-id", "")
    if (text, len(ids), ends, done) == (TEXT, 1, ["stop"], True):
        tally.silences[request] = silence
    else:
        tally.errors.append(f"{request}: {len(ids)} ids, ends {ends}, done {done}, {text!r}")


async def _records(network: Network, session: aiohttp.ClientSession) -> list[_Record]:
    """Read all usage records."""
    found: list[_Record] = []
    page = f"{network.url}/api/v1/usage?limit={PAGE}"
    before = ""
    while True:
        async with session.get(page + before) as answer:
            usage = msgspec.json.decode(await answer.read(), type=_Usage)
        found += usage.records
        if usage.before is None:
            return found
        before = f"&before={usage.before}"


def _reported(tally: _Tally, records: list[_Record], faults: int) -> MovesReport:
    gaps: dict[str, list[float]] = {}
    heard = []
    for record in records:
        for before, part in zip(record.parts, record.parts[1:], strict=False):
            if part.gap_s is not None:
                gaps.setdefault(before.outcome, []).append(part.gap_s)
        if record.parts and record.request_id in tally.silences:
            heard.append(tally.silences[record.request_id])
    gaps["all"] = [gap for each in gaps.values() for gap in each]
    return MovesReport(
        machine=machine(),
        streams=len(tally.silences) + len(tally.errors),
        failed=len(tally.errors),
        first_errors=tally.errors[:5],
        faults=faults,
        gaps={reason: gaps_of(seconds) for reason, seconds in gaps.items()},
        heard=gaps_of(heard),
    )


def main(argv: list[str] | None = None) -> int:
    """Measure, print a table and verdicts, write JSON; status 1 when a stream failed."""
    parser = argparse.ArgumentParser(prog="bench.moves", description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="under a minute, fewer moves")
    parser.add_argument("--moves", type=int, help="how many instead")
    parser.add_argument("--json", type=Path, help="where to write (bench/results/moves.json)")
    arguments = parser.parse_args(argv)
    plan = SHORT if arguments.short else FULL
    if arguments.moves:
        plan = Plan(arguments.moves, plan.clients)
    try:
        report = uvloop.run(measure(plan))
    except StartError as problem:
        console.print(str(problem), style="red", markup=False)
        return 2
    show(report)
    print_verdicts(report.verdicts)
    write_json("moves", report, arguments.json)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
