"""How long a volunteer waits from the command to a node that serves.

    python -m bench.join [--sandbox podman] [--base IMAGE] [--short] [--runs N] [--json FILE]

Model and image are on the disk already, as they are for whoever has fetched them. Timed is
`gai node join` with a new token in a new folder, until the network lists its model, which the
engine's load is a part of: the real small model's, a second or two. Then, stopped in between,
`gai node run` in the same folder.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import get_args

import msgspec
import uvloop

from bench.processes import StartError, answers, spawn, wait_for
from bench.product import BUILD_SECONDS, Network, do, gai, new_token, running_network
from bench.quantiles import quantile
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
from garage_ai.catalog import DEFAULT_MODEL
from garage_ai.node.sandbox.spec import Program

__all__ = ["JoinReport", "Start", "main", "measure", "verdicts"]

FULL_RUNS = 20
SHORT_RUNS = 2
BOUND_SECONDS = 60.0
PATIENCE = 180.0
GONE_SECONDS = 30.0


class Start(msgspec.Struct, frozen=True):
    """One volunteer: seconds from `join` until it serves, and from `run` another time."""

    join: float
    run: float


class JoinReport(msgspec.Struct):
    """Everything `bench.join` writes down."""

    machine: Machine
    starts: list[Start]
    sandbox: str = "none"
    verdicts: list[Verdict] = []


async def measure(runs: int, sandbox: Program | None = None, base: str | None = None) -> JoinReport:
    """Let so many volunteers join, one after the other."""
    described = machine()
    warn_if_busy(described)
    report = JoinReport(described, [], sandbox or "none")
    with tempfile.TemporaryDirectory(prefix="bench-join-") as name:
        folder = Path(name)
        async with running_network(folder) as network:
            for number in range(runs):
                home = folder / f"n{number}"
                home.mkdir()
                report.starts.append(await _one(network, home, sandbox, base))
                console.print(f"{number + 1} of {runs} have joined", style="dim")
    report.verdicts = verdicts(report.starts)
    return report


async def _one(network: Network, home: Path, sandbox: Program | None, base: str | None) -> Start:
    fenced = ["--sandbox", sandbox or "none", "--data-dir", str(home / "node")]
    if sandbox:
        based = ["--base", base] if base else []
        await do("node", "image", *based, *fenced, seconds=BUILD_SECONDS)
    token = await new_token(network, bare=True)
    try:
        joined = await _until_it_serves(network, home, "join", network.url, token, *fenced)
        again = await _until_it_serves(network, home, "run", *fenced)
    finally:
        await do("node", "leave", "--force", *fenced[2:])
    return Start(joined, again)


async def _until_it_serves(network: Network, home: Path, *words: str) -> float:
    """Start an agent and stop it once its model is listed; give the seconds in between."""
    models, listed = f"{network.url}/v1/models", f'"{DEFAULT_MODEL}"'
    began = time.monotonic()
    child = spawn(f"gai-{words[0]}", gai("node", *words), home)
    try:
        await wait_for(child, lambda: answers(models, network.key, listed), PATIENCE, "listed")
        took = time.monotonic() - began
    finally:
        child.stop()
    await wait_for(network.child, lambda: not answers(models, network.key, listed), GONE_SECONDS)
    return took


def verdicts(starts: list[Start]) -> list[Verdict]:
    """Compare the slowest with what was promised, though its load is in it as well."""
    worst = max(start.join for start in starts)
    name = "from the command to serving, the worst, with the model's load"
    return [Verdict(name, worst, "s", BOUND_SECONDS, "at most")]


def _show(report: JoinReport) -> None:
    rows = []
    for name, samples in (
        ("join, to serving", [start.join for start in report.starts]),
        ("run, to serving", [start.run for start in report.starts]),
    ):
        figures = [quantile(sorted(samples), share) for share in (0.5, 0.95, 1.0)]
        rows.append([name, *(f"{figure:.2f} s" for figure in figures)])
    title = f"{len(report.starts)} volunteers, sandbox: {report.sandbox}"
    table(title, ["from the command", "p50", "p95", "worst"], rows)


def main(argv: list[str] | None = None) -> int:
    """Measure, print a table and a verdict, write JSON."""
    parser = argparse.ArgumentParser(prog="bench.join", description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help=f"{SHORT_RUNS} volunteers")
    parser.add_argument("--runs", type=int, metavar="N", help=f"how many volunteers ({FULL_RUNS})")
    parser.add_argument("--sandbox", choices=get_args(Program), help="in a container of this one")
    parser.add_argument("--base", metavar="IMAGE", help="an image with python3 and libgomp1")
    parser.add_argument("--json", type=Path, help="where to write (bench/results/join.json)")
    arguments = parser.parse_args(argv)
    runs = arguments.runs or (SHORT_RUNS if arguments.short else FULL_RUNS)
    try:
        report = uvloop.run(measure(runs, arguments.sandbox, arguments.base))
    except StartError as problem:
        console.print(str(problem), style="red", markup=False)
        return 2
    _show(report)
    print_verdicts(report.verdicts)
    write_json("join", report, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
