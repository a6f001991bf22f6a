"""What an agent takes of its owner's PC while it has nothing to do.

    python -m bench.idle [--short] [--json FILE]

A node lends an external engine, so that its process is the agent and nothing else. It is watched
twice: as it comes, and with every limit set that can be read here. CPU time is that of the agent
and of the programs it has run and waited for; memory is the most that was resident.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil
import uvloop

from bench.processes import StartError, mock_engine
from bench.product import joined_node, running_network
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
from garage_ai.node.folder import NodeFolder
from garage_ai.node.guard.limits import Limits, save_limits

__all__ = ["FULL", "SHORT", "IdleReport", "Plan", "Watched", "main", "measure", "verdicts"]

CPU_BOUND = 0.01  # of a core
MEMORY_BOUND = 80.0  # MB
LOOK_SECONDS = 1.0

GUARDS = {
    "as it comes": Limits(),
    "every limit": Limits(
        pause_on=("no-such-game", "nor-this-one.exe"),
        schedule="mon-sun 00:00-24:00",
        max_cpu=100.0,
        max_temperature=120.0,
        max_upload=10**15,
    ),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Seconds to let it come to rest, and to watch it then."""

    rest: float
    watch: float


FULL = Plan(rest=15.0, watch=60.0)
SHORT = Plan(rest=2.0, watch=5.0)


class Watched(msgspec.Struct, frozen=True):
    """One agent: its share of a core over so many seconds, and its memory in bytes at most."""

    guard: str
    seconds: float
    cpu: float
    rss: int


class IdleReport(msgspec.Struct):
    """Everything `bench.idle` writes down."""

    machine: Machine
    agents: list[Watched]
    verdicts: list[Verdict] = []


async def measure(plan: Plan) -> IdleReport:
    """Watch one agent after the other."""
    described = machine()
    warn_if_busy(described)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-idle-")))
        engine = await stack.enter_async_context(mock_engine())
        network = await stack.enter_async_context(running_network(folder))
        agents = []
        for number, (guard, limits) in enumerate(GUARDS.items()):
            home = folder / f"n{number}"
            home.mkdir()
            node = NodeFolder(home / "node")
            node.prepare()
            save_limits(node.path, limits)
            console.print(f"watching an agent, {guard}, for {plan.watch:g} s", style="dim")
            async with joined_node(network, home, engine.base_url, "mock", 4) as child:
                agents.append(await _watched(guard, child.pid, plan))
    return IdleReport(described, agents, verdicts(agents))


async def _watched(guard: str, pid: int, plan: Plan) -> Watched:
    await asyncio.sleep(plan.rest)
    process = psutil.Process(pid)
    began, before, rss = time.monotonic(), _cpu(process), 0
    while (seconds := time.monotonic() - began) < plan.watch:
        rss = max(rss, process.memory_info().rss)
        await asyncio.sleep(LOOK_SECONDS)
    return Watched(guard, seconds, (_cpu(process) - before) / seconds, rss)


def _cpu(process: psutil.Process) -> float:
    """Give the seconds a process and its finished children have run.

    Its own come from the scheduler, in nanoseconds (kernel, Documentation/scheduler/sched-stats):
    an idle agent takes less in a short run than the 10 ms of a tick.
    """
    threads = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    own = sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
    times = process.cpu_times()
    return float(own + times.children_user + times.children_system)


def verdicts(agents: list[Watched]) -> list[Verdict]:
    """Hold the agent as it comes to what was promised."""
    plain = agents[0]
    return [
        Verdict("share of a core, idle", plain.cpu, "", CPU_BOUND, "at most"),
        Verdict("memory, idle", plain.rss / 1e6, "MB", MEMORY_BOUND, "at most"),
    ]


def main(argv: list[str] | None = None) -> int:
    """Measure, print a table and verdicts, write JSON."""
    parser = argparse.ArgumentParser(prog="bench.idle", description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="half a minute, rough figures")
    parser.add_argument("--json", type=Path, help="where to write (bench/results/idle.json)")
    arguments = parser.parse_args(argv)
    try:
        report = uvloop.run(measure(SHORT if arguments.short else FULL))
    except StartError as problem:
        console.print(str(problem), style="red", markup=False)
        return 2
    rows = [
        [each.guard, f"{100 * each.cpu:.2f} %", f"{each.rss / 1e6:.1f} MB"]
        for each in report.agents
    ]
    table("an agent with nothing to do", ["guard", "of a core", "memory"], rows)
    print_verdicts(report.verdicts)
    write_json("idle", report, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
