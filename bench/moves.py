"""Nodes that are killed or taken back under running streams: does any client notice?

    python -m bench.moves [--engine mock|llamacpp] [--short] [--moves N] [--json FILE]

Volunteers lend engines and clients read streams all the time. One node after the other is killed
with -9, stopped in a hurry by its owner, or paused with a second's time, and comes back. Every
stream of the mock engine is checked word by word; of the real small model, that it has one id, one
end and no error. Gaps are the gateway's, from its usage records; beside them stands what clients
heard.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import aiohttp
import msgspec
import uvloop

from bench.mock_answers import text_of
from bench.moves_nodes import Lending, Volunteer, lends_llamacpp, lends_mock
from bench.moves_report import MovesReport, gaps_of, show, verdicts
from bench.processes import StartError, log_tails, mock_engine
from bench.product import Network, running_network
from bench.report import console, machine, print_verdicts, warn_if_busy, write_json

__all__ = ["PLANS", "Plan", "main", "measure"]

CHUNKS = 100
CHUNK_SECONDS = 0.02
TEXT = text_of(CHUNKS)
STREAM_SECONDS = 60.0
SMALL = "smollm2-135m-instruct"
SLOTS = 8
ASKED = "Tell me a very long story about the sea, the islands in it and who lives there."
LONGEST = 100  # tokens
PAGE = 1000  # usage records a call


Engine = Literal["mock", "llamacpp"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How many moves to see, of which engine, and how many nodes and clients there are.

    `patient` waits before each fault until every client has had a whole answer that began after the
    last one, and reads the next: a stream is moved three times at most, a processor takes its time
    to read what was said, and a node that never gets an answer done is left alone for a while.
    """

    engine: Engine
    moves: int
    clients: int
    nodes: int = 3
    patient: bool = False

    @property
    def body(self) -> dict[str, object]:
        """What each client asks."""
        if self.engine == "mock":
            return _asking("mock", "Count.")
        return _asking(SMALL, ASKED) | {"max_tokens": LONGEST, "temperature": 0}

    def is_whole(self, text: str, ends: list[str]) -> bool:
        """Tell whether a stream said what it should, to its end."""
        if self.engine == "mock":
            return text == TEXT and ends == ["stop"]
        return bool(text) and ends in (["stop"], ["length"])


def _asking(model: str, what: str) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": what}], "stream": True}


# Of each engine, in full and in short.
PLANS = {
    "mock": (Plan("mock", 1_000, 24), Plan("mock", 30, 12)),
    "llamacpp": (
        Plan("llamacpp", 100, 4, nodes=2, patient=True),
        Plan("llamacpp", 4, 4, nodes=2, patient=True),
    ),
}


@dataclass(slots=True)
class _Tally:
    """What clients saw: the longest silence of each stream, by its request's id."""

    silences: dict[str, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    heard: dict[str, float] = field(default_factory=dict)  # by client, when it last read something
    faults: int = 0
    whole: dict[str, int] = field(default_factory=dict)  # by client, the faults before its last one
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
        lending = await _lending(plan, stack)
        network = await stack.enter_async_context(running_network(folder))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(headers={"authorization": f"Bearer {network.key}"})
        )
        nodes = [Volunteer(network, lending, folder / f"n{n}", session) for n in range(plan.nodes)]
        for node in nodes:
            stack.callback(node.end)
            await node.join()
        clients = [asyncio.create_task(_read_on(network, plan, tally)) for _ in range(plan.clients)]
        try:
            faults = await _hurt(nodes, network, session, plan, tally)
        finally:
            tally.enough = True
            await asyncio.wait(clients, timeout=STREAM_SECONDS)
            _show_errors(tally, folder)
        await asyncio.sleep(1)  # usage is written within 50 ms
        records = await _records(network, session)
    report = _reported(tally, records, faults)
    report.machine = described
    report.verdicts = verdicts(report, plan.moves, bound_gaps=plan.engine == "mock")
    return report


def _show_errors(tally: _Tally, folder: Path) -> None:
    """Show what went wrong, also where it ended the run."""
    if tally.errors:
        told = "\n".join((*tally.errors[:5], log_tails(folder)))
        console.print(told, style="dim", markup=False, highlight=False)


async def _lending(plan: Plan, stack: AsyncExitStack) -> Lending:
    if plan.engine == "llamacpp":
        return lends_llamacpp(SMALL, SLOTS)
    pace = ("--chunks", str(CHUNKS), "--chunk-delay", str(CHUNK_SECONDS))
    engine = await stack.enter_async_context(mock_engine(*pace))
    return lends_mock(engine.base_url)


async def _hurt(
    nodes: list[Volunteer],
    network: Network,
    session: aiohttp.ClientSession,
    plan: Plan,
    tally: _Tally,
) -> int:
    """Kill, hand back and leave in turns, one node at a time; the others serve meanwhile."""
    wanted = plan.moves
    while True:
        if plan.patient:
            await _all_read(plan, tally)
        faults = tally.faults
        node = nodes[faults % len(nodes)]
        # Each fault comes to every node in turn.
        match (faults + faults // math.lcm(len(nodes), 3)) % 3:
            case 0:
                node.kill()
            case 1:
                await node.hand_back()
            case _:
                await node.leave()
        faults = tally.faults = faults + 1
        await node.come_back()
        moved = await _moves(network, session)
        if faults % 20 == 0:
            console.print(f"{moved:,} moves, {len(tally.silences):,} streams", style="dim")
        if moved >= wanted or len(tally.errors) > wanted:
            return faults


async def _all_read(plan: Plan, tally: _Tally) -> None:
    """Wait until every client has had a whole answer since the last fault, and reads another."""
    began = time.perf_counter()
    while time.perf_counter() < began + STREAM_SECONDS:
        reading = [name for name, at in tally.heard.items() if at > began]
        served = [name for name in reading if tally.whole.get(name) == tally.faults]
        if len(served) >= plan.clients:
            return
        await asyncio.sleep(0.05)
    raise StartError("clients hear nothing")


async def _moves(network: Network, session: aiohttp.ClientSession) -> int:
    """Read how many moves the gateway has counted."""
    async with session.get(f"{network.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    counted = [line for line in lines if line.startswith("gai_stream_moves_total{")]
    return int(sum(float(line.rpartition(" ")[2]) for line in counted))


async def _read_on(network: Network, plan: Plan, tally: _Tally) -> None:
    """Read one stream after the other, each on a connection of its own."""
    timeout = aiohttp.ClientTimeout(total=STREAM_SECONDS)
    headers = {"authorization": f"Bearer {network.key}", "connection": "close"}
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        while not tally.enough:
            try:
                await _read(network, session, plan, tally)
            except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError, LookupError) as error:
                tally.errors.append(f"{type(error).__name__}: {error}")


async def _read(
    network: Network, session: aiohttp.ClientSession, plan: Plan, tally: _Tally
) -> None:
    """Read a stream and check all of it."""
    text, ids, ends, silence = "", set(), [], 0.0
    task = asyncio.current_task()
    client = task.get_name() if task is not None else ""
    begun = tally.faults
    async with session.post(f"{network.url}/v1/chat/completions", json=plan.body) as answer:
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
            tally.heard[client] = now
            ids.add(event.id)
            text += event.choices[0].delta.content or ""
            ends += [event.choices[0].finish_reason] if event.choices[0].finish_reason else []
        request = answer.headers.get("x-request-id", "")
    if len(ids) == 1 and done and plan.is_whole(text, ends):
        tally.silences[request] = silence
        tally.whole[client] = begun
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
    parser.add_argument("--engine", choices=list(PLANS), default="mock", help="what is lent")
    parser.add_argument("--short", action="store_true", help="fewer moves; the mock's in a minute")
    parser.add_argument("--moves", type=int, help="how many instead")
    parser.add_argument("--json", type=Path, help="where to write (bench/results/…)")
    arguments = parser.parse_args(argv)
    plan = PLANS[arguments.engine][arguments.short]
    if arguments.moves:
        plan = replace(plan, moves=arguments.moves)
    try:
        report = uvloop.run(measure(plan))
    except StartError as problem:
        console.print(str(problem), style="red", markup=False)
        return 2
    show(report)
    print_verdicts(report.verdicts)
    write_json("moves" if plan.engine == "mock" else "moves-real", report, arguments.json)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
