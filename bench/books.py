"""Whether the books hold: how fast they are kept, and what is left of them when all is killed.

    python -m bench.books [--short] [--orders N] [--seed N] [--only rate|faults]
                          [--database sqlite|postgresql] [--json FILE]

The rate is of pairs of reserving and settling, each two entries, committed: one gateway on SQLite,
four on PostgreSQL. For the faults 16 clients give random orders to gateways, one on SQLite, three
on PostgreSQL, which are killed with `kill -9` at random moments, and so is PostgreSQL; afterwards a
checker that knows nothing of the program adds everything up. PostgreSQL is left out where it is not
installed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from bench.books_faults import Faults, run_faults
from bench.books_gateway import MEMBERS, RateResult, member
from bench.processes import ROOT
from bench.report import (
    Machine,
    Verdict,
    machine,
    print_verdicts,
    table,
    warn_if_busy,
    write_json,
)
from garage_ai.ledger import GAI, ISSUANCE, Kind, Ledger, NanoGai, Transfer, member_account
from garage_ai.storage import Storage, sqlite_url

if TYPE_CHECKING:
    from tests.parts.postgresql import Cluster

__all__ = ["BooksReport", "Rate", "main"]

FULL_ORDERS = 1_000_000
SHORT_ORDERS = 4_000
FULL_SECONDS = 20.0
SHORT_SECONDS = 3.0
WRITERS = {"sqlite": 1, "postgresql": 4}
BOUNDS = {"sqlite": 5_000, "postgresql": 2_000}
FULL_PAUSE = 4.0
SHORT_PAUSE = 1.0


class Rate(msgspec.Struct, frozen=True):
    """How many pairs a second were committed."""

    database: str
    writers: int
    pairs: int
    per_second: float


class BooksReport(msgspec.Struct):
    """Everything `bench.books` writes down."""

    machine: Machine
    rates: list[Rate] = []
    faults: list[Faults] = []
    verdicts: list[Verdict] = []


@contextlib.contextmanager
def _databases(only: str | None) -> Iterator[dict[str, tuple[str, Cluster | None]]]:
    """Give an empty database of each kind that there is here, or of one alone."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found: dict[str, tuple[str, Cluster | None]] = {}
        if only != "postgresql":
            found["sqlite"] = (sqlite_url(folder / "garage.db"), None)
        if only != "sqlite" and any(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
            from tests.parts.postgresql import Cluster

            cluster = Cluster.make(durable=True)
            stack.callback(cluster.stop)
            found["postgresql"] = (cluster.url(cluster.create()), cluster)
        if not found:
            raise SystemExit("PostgreSQL is not installed here")
        yield found


async def _fund(url: str) -> None:
    storage = await Storage.open(url)
    for number in range(MEMBERS):
        account, name = member_account(member(number)), f"opening{number}"
        given = Transfer(name, Kind.GRANT, ISSUANCE, account, NanoGai(GAI), datetime.now(UTC))
        await Ledger(storage).post([given])
    await storage.close()


def _rate(database: str, url: str, seconds: float) -> Rate:
    asyncio.run(_fund(url))
    writers = WRITERS[database]
    command = [sys.executable, "-m", "bench.books_gateway", url, "--rate", str(seconds)]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(writers)]
    told = [child.communicate(timeout=seconds + 120)[0] for child in running]
    results = [msgspec.json.decode(each, type=RateResult) for each in told]
    per_second = sum(each.pairs / each.seconds for each in results)
    return Rate(database, writers, sum(each.pairs for each in results), per_second)


def wrong(run: Faults) -> int:
    """Count what is wrong after a run of faults, by the checker and by the program itself."""
    return run.checked.faults + run.verify_faults


def verdicts(rates: Sequence[Rate], faults: Sequence[Faults]) -> list[Verdict]:
    """Compare with what was promised."""
    found = [
        Verdict(
            f"reserve and settle, {each.database}, {each.writers} gateways",
            each.per_second,
            "pairs/s",
            BOUNDS[each.database],
            "at least",
        )
        for each in rates
    ]
    for run in faults:
        name = f"wrong after {run.orders} orders, {run.database}"
        found.append(Verdict(name, wrong(run), "", 0, "at most"))
    return found


def _show(report: BooksReport) -> None:
    table(
        "Reserve and settle",
        ["database", "gateways", "pairs", "pairs/s"],
        [[r.database, str(r.writers), str(r.pairs), f"{r.per_second:.0f}"] for r in report.rates],
    )
    for each in report.faults:
        seen = msgspec.to_builtins(each.checked)
        rows = [[name.replace("_", " "), str(value)] for name, value in seen.items()]
        killed = f"{each.gateways_killed} gateways, {each.databases_killed} databases killed"
        title = f"{each.database}: {each.orders} orders in {each.seconds:.0f} s, {killed}"
        table(title, ["found", "count or nGAI"], rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write down; status 1 when something is wrong with the books."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="rough figures, under a minute")
    parser.add_argument("--orders", type=int, help="orders on each database")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=["rate", "faults"])
    parser.add_argument("--database", choices=list(WRITERS), help="that one alone")
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args(argv)
    # Every lease of a killed gateway would be a line.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    report = BooksReport(machine())
    warn_if_busy(report.machine)
    orders = arguments.orders or (SHORT_ORDERS if arguments.short else FULL_ORDERS)
    seconds, pause = (SHORT_SECONDS, SHORT_PAUSE) if arguments.short else (FULL_SECONDS, FULL_PAUSE)
    if arguments.only != "faults":
        with _databases(arguments.database) as found:
            report.rates = [_rate(name, url, seconds) for name, (url, _) in found.items()]
    if arguments.only != "rate":
        with _databases(arguments.database) as found:
            for name, (url, cluster) in found.items():
                done = run_faults(
                    name, url, orders, seed=arguments.seed, pause=pause, cluster=cluster
                )
                report.faults.append(asyncio.run(done))
    report.verdicts = verdicts(report.rates, report.faults)
    _show(report)
    print_verdicts(report.verdicts)
    write_json("books", report, arguments.json)
    return 1 if any(wrong(run) for run in report.faults) else 0


if __name__ == "__main__":
    sys.exit(main())
