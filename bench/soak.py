"""A hundred thousand requests: memory, descriptors and threads the same before and after.

    python -m bench.soak [--short] [--requests N] [--json FILE]

Plain answers, streams and clients that leave in the middle take turns. The processes are read
from outside (`/proc`), the gateway's own gauges from `/metrics`. Memory is judged by its slope
after the first fifth, when caches and pools have found their size.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import uvloop

from bench.contenders import Contender, garage
from bench.load import Workload, http_request, run_load
from bench.processes import EngineProcess, StartError, log_tails, mock_engine
from bench.report import console, machine, print_verdicts, warn_if_busy, write_json
from bench.soak_report import Reading, SoakReport, read_process, show, verdicts

__all__ = ["FULL", "SHORT", "Plan", "main", "measure"]

CLIENTS = 16
READERS = 64  # more than any pool of the gateway holds
CHUNKS = 8
LEAVERS = 20  # requests of a batch whose client leaves after the first content
WATCHED = ("gateway", "agent", "nats-server")


@dataclass(frozen=True, slots=True)
class Plan:
    """How many requests, in how many batches with a reading after each.

    `settle` seconds of idleness come before the first and the last reading, so that kept
    connections have ended at both ends alike.
    """

    requests: int
    batches: int
    settle: float


FULL = Plan(requests=100_000, batches=100, settle=12.0)
SHORT = Plan(requests=3_000, batches=10, settle=6.0)


@dataclass(slots=True)
class _Tally:
    served: int = 0
    left: int = 0
    errors: list[str] = field(default_factory=list)


async def measure(plan: Plan) -> SoakReport:
    """Run the requests and read the processes before, between and after."""
    described = machine()
    warn_if_busy(described)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-soak-")))
        engine = await stack.enter_async_context(mock_engine("--chunks", str(CHUNKS)))
        way, operator = await stack.enter_async_context(garage(engine.base_url, folder))
        tally = _Tally()
        await _fill_pools(operator)
        await _batch(way, plan.requests // plan.batches, tally)
        await asyncio.sleep(plan.settle)
        readings = [await _read(way, tally)]
        for number in range(1, plan.batches):
            await _batch(way, plan.requests // plan.batches, tally)
            readings.append(await _read(way, tally))
            if number % max(1, plan.batches // 10) == 0:
                console.print(f"{readings[-1].requests:,} requests", style="dim")
        await asyncio.sleep(plan.settle)
        readings.append(await _read(way, tally))
        engine_state = await _engine_state(engine)
        if tally.errors:
            console.print(log_tails(folder), style="dim", markup=False, highlight=False)
    report = SoakReport(
        machine=described,
        served=tally.served,
        left=tally.left,
        errors=len(tally.errors),
        first_errors=tally.errors[:5],
        readings=readings,
        engine_running=engine_state["running"],
        engine_cancelled=engine_state["cancelled"],
    )
    report.verdicts = verdicts(report)
    return report


async def _fill_pools(way: Contender) -> None:
    """Have the gateway open what it keeps open: later it would be chance when readers meet."""
    url = way.target.base_url.removesuffix("/v1") + "/api/v1/usage"
    await asyncio.gather(*(_get(url, way.target.api_key) for _ in range(READERS)))


async def _batch(way: Contender, requests: int, tally: _Tally) -> None:
    """Send one batch: half plain, half streamed, and some clients that leave."""
    half = max(1, (requests - LEAVERS) // 2)
    for stream in (False, True):
        workload = Workload(stream, CLIENTS, CHUNKS)
        result = await run_load(way.target, workload, requests=half)
        tally.served += result.requests
        tally.errors += result.errors
    # Long enough that the client is gone before the engine has said everything.
    workload = Workload(stream=True, chunks=2000)
    leaving = [_leave(way, workload) for _ in range(min(LEAVERS, requests))]
    for problem in await asyncio.gather(*leaving):
        tally.left += 1
        tally.errors += [problem] if problem else []


async def _leave(way: Contender, workload: Workload) -> str:
    """Ask, read up to the first event, and close; return what went wrong before that."""
    host, port = way.target.address
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 10)
        writer.write(http_request(way.target, workload, workload.prompts[0]))
        head = await asyncio.wait_for(reader.readuntil(b"data: "), 30)
        writer.transport.abort()
    except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError) as problem:
        return f"{type(problem).__name__}: {problem}"
    return "" if head.startswith(b"HTTP/1.1 200") else head[:200].decode("latin-1")


async def _read(way: Contender, tally: _Tally) -> Reading:
    processes = {
        role: read_process(pids) for role, pids in way.roles.items() if role in WATCHED and pids
    }
    return Reading(
        requests=tally.served + tally.left, processes=processes, gauges=await _gauges(way)
    )


async def _gauges(way: Contender) -> dict[str, float]:
    """Read the gauges of /metrics that count what is open or waiting now."""
    text = await _get(way.target.base_url.removesuffix("/v1") + "/metrics")
    names, found = set(), {}
    for line in text.splitlines():
        if line.startswith("# TYPE gai_") and line.endswith(" gauge"):
            name = line.split()[2]
            # Neither the birth dates of counters nor the states of nodes.
            names |= {name} if not name.endswith("_created") and name != "gai_nodes" else set()
        elif not line.startswith("#") and line.partition("{")[0].split(" ")[0] in names:
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


async def _engine_state(engine: EngineProcess) -> dict[str, int]:
    async with aiohttp.ClientSession() as session:
        url = engine.base_url.removesuffix("/v1") + "/mock/state"
        async with session.get(url) as answer:
            state: dict[str, int] = await answer.json()
            return state


async def _get(url: str, key: str = "") -> str:
    timeout = aiohttp.ClientTimeout(total=30)
    # One connection that ends with it: a kept one would be counted as a descriptor left behind.
    headers = {"connection": "close"} | ({"authorization": f"Bearer {key}"} if key else {})
    async with (
        aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
        session.get(url) as answer,
    ):
        answer.raise_for_status()
        return await answer.text()


def main(argv: list[str] | None = None) -> int:
    """Measure, print tables and verdicts, write JSON; status 1 when a request failed."""
    parser = argparse.ArgumentParser(prog="bench.soak", description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="under a minute, fewer requests")
    parser.add_argument("--requests", type=int, help="how many instead")
    parser.add_argument("--json", type=Path, help="where to write (bench/results/soak.json)")
    arguments = parser.parse_args(argv)
    plan = SHORT if arguments.short else FULL
    if arguments.requests:
        plan = Plan(arguments.requests, plan.batches, plan.settle)
    try:
        report = uvloop.run(measure(plan))
    except StartError as problem:
        console.print(str(problem), style="red", markup=False)
        return 2
    show(report)
    print_verdicts(report.verdicts)
    write_json("soak", report, arguments.json)
    return 1 if report.errors else 0


if __name__ == "__main__":
    sys.exit(main())
