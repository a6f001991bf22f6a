"""LiteLLM in front of the network while either side is killed: do both keep the same account?

    python -m bench.litellm [--short] [--calls N] [--json FILE]

The real proxy (`gai litellm`) stands before `gai up` and a node with a mock engine at 20 words a
second. Clients ask for plain answers and streams; one in twenty leaves in the middle. Meanwhile
LiteLLM is killed with -9, the gateway restarted in order, and then killed with -9 too. At the end
three accounts are compared by LiteLLM's id: the clients', LiteLLM's and the gateway's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import uvloop

from bench.litellm_calls import Clients, Fault, kinds_of
from bench.litellm_proxy import running_proxy
from bench.litellm_report import LiteLlmReport, Reconciled, check, read, show, verdicts
from bench.load import Workload, run_load
from bench.processes import StartError, log_tails, mock_engine, wait_for
from bench.product import ON_CREDIT, Network, gai, joined_node, running_network
from bench.report import console, machine, print_verdicts, warn_if_busy, write_json
from garage_ai.local.processes import is_alive, read_child

__all__ = ["FULL", "SHORT", "Plan", "main", "measure"]

WORD_SECONDS = "0.05"
SLOTS = 64
BACK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How many calls, by how many clients."""

    calls: int
    clients: int
    seed: int = 1


FULL = Plan(calls=10_000, clients=32)
SHORT = Plan(calls=60, clients=6)


class _Difference(msgspec.Struct):
    kind: str
    call_id: str | None


class _Summary(msgspec.Struct):
    counts: dict[str, int]


async def measure(plan: Plan) -> LiteLlmReport:
    """Run the calls and the faults, and compare what each side has of them."""
    described = machine()
    warn_if_busy(described)
    chance = random.Random(plan.seed)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-litellm-")))
        engine = await stack.enter_async_context(mock_engine("--chunk-delay", WORD_SECONDS))
        network = await stack.enter_async_context(running_network(folder, ON_CREDIT))
        await stack.enter_async_context(
            joined_node(network, folder, engine.base_url, "mock", SLOTS)
        )
        proxy = await stack.enter_async_context(running_proxy(network, folder))
        clients = Clients(proxy, chance)
        began = time.perf_counter()
        faults = await _run(plan, clients, network)
        seconds = time.perf_counter() - began - sum(each.back - each.at for each in faults)
        await proxy.stop()
        await asyncio.sleep(1)  # usage is written within 50 ms
        reconciled = await _reconcile(network)
        report = LiteLlmReport(
            machine=described,
            calls=len(clients.calls),
            ends=dict(Counter(call.end for call in clients.calls)),
            seconds=seconds,
            faults=faults,
            reconciled=reconciled.counts,
        )
        check(report, clients.calls, read(network.data / "garage.db"), reconciled)
        if report.first_findings:
            console.print(log_tails(folder), style="dim", markup=False, highlight=False)
    report.verdicts = verdicts(report)
    return report


async def _run(plan: Plan, clients: Clients, network: Network) -> list[Fault]:
    """Have all calls asked, and kill either side in the middle."""
    clients.up.set()
    asking = asyncio.create_task(clients.ask(kinds_of(plan.calls, clients.chance), plan.clients))
    faults = [Fault("proxy", "killed"), Fault("gateway", "restarted"), Fault("gateway", "killed")]
    try:
        for number, fault in enumerate(faults, 1):
            await _until(clients, plan.calls * number // (len(faults) + 1), asking)
            await _hurt(clients, fault, network)
        await asking
    finally:
        asking.cancel()
    return faults


async def _until(clients: Clients, calls: int, asking: asyncio.Task[None]) -> None:
    told = time.monotonic()
    while clients.done < calls and not asking.done():
        await asyncio.sleep(0.01)
        if time.monotonic() > told + 10:
            told = time.monotonic()
            console.print(f"{clients.done:,} calls", style="dim")


async def _hurt(clients: Clients, fault: Fault, network: Network) -> None:
    """Take a side away, wait until it serves again, and let clients go on."""
    clients.up.clear()
    fault.at = time.time()
    if fault.side == "proxy":
        clients.proxy.kill()
        await clients.proxy.start()
    else:
        signals = {"killed": signal.SIGKILL, "restarted": signal.SIGTERM}
        await _end_gateway(network, signals[fault.how])
    fault.back = time.time()
    clients.up.set()
    console.print(f"{fault.side} {fault.how} after {clients.done:,} calls", style="dim")


async def _end_gateway(network: Network, how: signal.Signals) -> None:
    """Send the gateway a signal; `gai up` starts another. Raises: StartError."""
    before = _gateway(network)
    os.kill(before, how)

    def another() -> bool:
        return _gateway(network) not in (0, before)

    await wait_for(network.child, another, BACK_SECONDS, "running again")
    deadline = time.monotonic() + BACK_SECONDS
    while (await run_load(network.target("mock"), Workload(stream=False), requests=1)).errors:
        if time.monotonic() > deadline:
            raise StartError(f"the gateway does not serve again:\n{network.child.tail()}")
        await asyncio.sleep(0.1)


def _gateway(network: Network) -> int:
    """Give the gateway's process id, 0 while there is none."""
    record = read_child(network.data / "run" / "gateway.json")
    return record.process.pid if record and is_alive(record.process) else 0


async def _reconcile(network: Network) -> Reconciled:
    argv = gai("usage", "reconcile", "--json", "--until", "2099-01-01T00:00:00Z")
    process = await asyncio.create_subprocess_exec(
        *[*argv, "--data-dir", str(network.data)],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaint = await asyncio.wait_for(process.communicate(), 120)
    *lines, last = said.splitlines() or [b""]
    if not last:
        raise StartError(f"gai usage reconcile: {complaint.decode('utf-8', 'replace')}")
    found = [msgspec.json.decode(line, type=_Difference) for line in lines]
    summary = msgspec.json.decode(last, type=_Summary)
    return Reconciled(summary.counts, [(each.kind, each.call_id or "") for each in found])


def main(argv: list[str] | None = None) -> int:
    """Measure, print tables and verdicts, write JSON; status 1 when a verdict is missed."""
    parser = argparse.ArgumentParser(prog="bench.litellm", description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="under 90 s, few calls")
    parser.add_argument("--calls", type=int, help="how many instead")
    parser.add_argument("--json", type=Path, help="where to write (bench/results/litellm.json)")
    arguments = parser.parse_args(argv)
    plan = SHORT if arguments.short else FULL
    if arguments.calls:
        plan = replace(plan, calls=arguments.calls)
    try:
        report = uvloop.run(measure(plan))
    except StartError as problem:
        console.print(str(problem), style="red", markup=False)
        return 2
    show(report)
    print_verdicts(report.verdicts)
    write_json("litellm", report, arguments.json)
    return 0 if all(verdict.met for verdict in report.verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
