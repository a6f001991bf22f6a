"""A thousand nodes on one gateway: what their heartbeats cost, and how long a choice takes.

    python -m bench.fleet [--short] [--nodes N] [--json FILE]

The nodes are simulated; their links are not: each has its own key, JWT and NATS connection, and
says what a real agent says, once in five seconds. The gateway and the NATS server are the product
as `gai up` starts it. The choice is timed in the router itself, where no clock of the network
blurs it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
import structlog
import uvloop

from bench.choice import Choice, measure_choices
from bench.fleet_nodes import beats, fleet
from bench.processes import Sample, StartError, sample
from bench.product import Network, network_roles, running_network
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

__all__ = ["FleetReport", "Plan", "main", "measure"]

CPU_BOUND = 0.25  # of one core
CHOICE_BOUND_US = 200.0
READY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure; seconds of watching, and how many choices."""

    nodes: int
    idle: float
    seconds: float
    choices: int


FULL = Plan(nodes=1000, idle=10.0, seconds=60.0, choices=20_000)
SHORT = Plan(nodes=200, idle=2.0, seconds=8.0, choices=1000)


class Load(msgspec.Struct, frozen=True):
    """Shares of one core, and resident MiB."""

    gateway: float
    nats_server: float
    gateway_mib: float
    nats_server_mib: float


class FleetReport(msgspec.Struct):
    """Everything `bench.fleet` writes down."""

    machine: Machine
    nodes: int
    ready: int  # nodes the gateway held ready at the end
    beats_per_second: float
    idle: Load
    beating: Load
    choices: list[Choice]
    verdicts: list[Verdict] = []


async def measure(plan: Plan) -> FleetReport:
    """Time choices, then watch a gateway without nodes and with them."""
    described = machine()
    warn_if_busy(described)
    choices = measure_choices(plan.nodes, plan.choices)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-fleet-")))
        books = f"sqlite:///{folder / 'fleet.db'}"
        network = await stack.enter_async_context(
            running_network(folder, {"GAI_DATABASE_URL": books})
        )
        idle, _ = await _watch(network, plan.idle)
        console.print(f"connecting {plan.nodes} nodes", style="dim")
        nodes = await stack.enter_async_context(fleet(network, books, plan.nodes))
        beating = await stack.enter_async_context(beats(nodes))
        await _until_ready(network, plan.nodes)
        before = beating.sent
        console.print(f"watching for {plan.seconds:g} s", style="dim")
        busy, wall = await _watch(network, plan.seconds)
        rate = (beating.sent - before) / wall
        ready = await _ready(network)
    report = FleetReport(
        machine=described,
        nodes=plan.nodes,
        ready=ready,
        beats_per_second=rate,
        idle=idle,
        beating=busy,
        choices=choices,
    )
    report.verdicts = _verdicts(report)
    return report


async def _until_ready(network: Network, count: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while (ready := await _ready(network)) < count:
        if time.monotonic() > deadline:
            raise StartError(f"only {ready} of {count} nodes became ready:\n{network.child.tail()}")
        await asyncio.sleep(1)


async def _ready(network: Network) -> int:
    """Count the nodes the gateway calls ready."""
    headers = {"authorization": f"Bearer {network.key}"}
    timeout = aiohttp.ClientTimeout(total=30)
    async with (
        aiohttp.ClientSession(headers=headers, timeout=timeout) as session,
        session.get(f"{network.url}/api/v1/nodes") as answer,
    ):
        answer.raise_for_status()
        listed = msgspec.json.decode(await answer.read(), type=_Listed)
    return sum(node.state == "ready" for node in listed.data)


class _ListedNode(msgspec.Struct):
    state: str


class _Listed(msgspec.Struct):
    data: list[_ListedNode]


async def _watch(network: Network, seconds: float) -> tuple[Load, float]:
    roles = network_roles(network)
    before, start = sample(roles), time.monotonic()
    await asyncio.sleep(seconds)
    after, wall = sample(roles), time.monotonic() - start

    def share(role: str) -> float:
        return (after[role].cpu - before[role].cpu) / wall

    def mib(used: Sample) -> float:
        return used.rss / 2**20

    load = Load(
        gateway=share("gateway"),
        nats_server=share("nats-server"),
        gateway_mib=mib(after["gateway"]),
        nats_server_mib=mib(after["nats-server"]),
    )
    return load, wall


def _verdicts(report: FleetReport) -> list[Verdict]:
    slowest = max(report.choices, key=lambda choice: choice.p99_us)
    return [
        Verdict(
            name=f"gateway under {report.nodes} nodes, share of a core",
            value=report.beating.gateway,
            unit="",
            bound=CPU_BOUND,
            direction="at most",
        ),
        Verdict(
            name=f"choice among {report.nodes} nodes, p99 when {slowest.situation}",
            value=slowest.p99_us,
            unit="µs",
            bound=CHOICE_BOUND_US,
            direction="at most",
        ),
    ]


def show(report: FleetReport) -> None:
    """Print the tables."""
    rows = [
        [
            name,
            f"{load.gateway:.3f}",
            f"{load.nats_server:.3f}",
            f"{load.gateway_mib:.0f}",
            f"{load.nats_server_mib:.0f}",
        ]
        for name, load in (("no nodes", report.idle), (f"{report.nodes} nodes", report.beating))
    ]
    columns = ["share of a core", "gateway", "nats-server", "gateway MiB", "nats-server MiB"]
    table(f"{report.beats_per_second:.0f} beats a second", columns, rows)
    choices = [[c.situation, f"{c.p50_us:.1f}", f"{c.p99_us:.1f}"] for c in report.choices]
    table(f"one choice among {report.nodes}", ["", "p50 µs", "p99 µs"], choices)


def main(argv: list[str] | None = None) -> int:
    """Measure, print tables and verdicts, write JSON; status 1 when a node was not ready."""
    parser = argparse.ArgumentParser(prog="bench.fleet", description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="under a minute, fewer nodes")
    parser.add_argument("--nodes", type=int, help="how many instead")
    parser.add_argument("--json", type=Path, help="where to write (bench/results/fleet.json)")
    arguments = parser.parse_args(argv)
    plan = SHORT if arguments.short else FULL
    if arguments.nodes:
        plan = Plan(arguments.nodes, plan.idle, plan.seconds, plan.choices)
    # A thousand links that say they are connected are not worth a thousand lines.
    quiet = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=quiet)
    try:
        report = uvloop.run(measure(plan))
    except StartError as problem:
        console.print(str(problem), style="red", markup=False)
        return 2
    show(report)
    print_verdicts(report.verdicts)
    write_json("fleet", report, arguments.json)
    return 0 if report.ready == report.nodes else 1


if __name__ == "__main__":
    sys.exit(main())
