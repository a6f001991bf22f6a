"""From the readings of `bench.soak` to slopes and verdicts."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec
import psutil

from bench.report import Machine, Verdict, console, table

__all__ = ["Process", "Reading", "SoakReport", "growth", "read_process", "show", "verdicts"]

WARM_UP = 0.2  # share of the readings that are not judged
GROWTH_BOUND_MIB = 8.0  # over 100,000 requests: noise of an allocator, not a leak of 84 bytes each
PER = 100_000
ENOUGH = 50_000  # requests below which a slope says nothing
MIB = 2**20


class Process(msgspec.Struct, frozen=True):
    """What the processes of one role hold."""

    rss: int  # bytes
    descriptors: int
    threads: int


class Reading(msgspec.Struct, frozen=True):
    """One look at everything."""

    requests: int  # so far
    processes: dict[str, Process]
    gauges: dict[str, float]


class SoakReport(msgspec.Struct):
    """Everything `bench.soak` writes down."""

    machine: Machine
    served: int
    left: int  # clients that left in the middle
    errors: int
    first_errors: list[str]
    readings: list[Reading]
    engine_running: int
    engine_cancelled: int
    verdicts: list[Verdict] = []


def read_process(pids: Sequence[int]) -> Process:
    """Read the processes of one role; raises psutil.NoSuchProcess when one has died."""
    found = [psutil.Process(pid) for pid in pids]
    return Process(
        rss=sum(process.memory_info().rss for process in found),
        descriptors=sum(process.num_fds() for process in found),
        threads=sum(process.num_threads() for process in found),
    )


def growth(readings: Sequence[Reading], role: str) -> float:
    """Return the slope of a role's memory after warming up, in MiB for 100,000 requests.

    The median of the slopes between all pairs of readings (Theil and Sen): one reading in the
    middle of a garbage collection does not bend it.
    """
    judged = readings[int(len(readings) * WARM_UP) :]
    points = [(r.requests, r.processes[role].rss) for r in judged if role in r.processes]
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for index, earlier in enumerate(points)
        for later in points[index + 1 :]
        if later[0] > earlier[0]
    ]
    return statistics.median(slopes) * PER / MIB if slopes else 0.0


def verdicts(report: SoakReport) -> list[Verdict]:
    """Hold memory, descriptors, threads and gauges against their bounds."""
    first, last = report.readings[0], report.readings[-1]
    found = []
    for role in last.processes if last.requests >= ENOUGH else ():
        grown = growth(report.readings, role)
        name = f"{role}: memory per 100,000 requests"
        found.append(Verdict(name, grown, "MiB", GROWTH_BOUND_MIB, "at most"))
    for role, now in last.processes.items():
        before = first.processes[role]
        # The Go runtime of nats-server makes and keeps threads as it likes.
        counted = ("descriptors",) if role == "nats-server" else ("descriptors", "threads")
        for what in counted:
            more = float(getattr(now, what) - getattr(before, what))
            found.append(Verdict(f"{role}: {what} left behind", more, "", 0, "at most"))
    for name in sorted(first.gauges.keys() & last.gauges.keys()):
        more = last.gauges[name] - first.gauges[name]
        found.append(Verdict(f"{name}: more than before", more, "", 0, "at most"))
    running = float(report.engine_running)
    found.append(Verdict("engine slots still taken", running, "", 0, "at most"))
    return found


def show(report: SoakReport) -> None:
    """Print the tables."""
    first, last = report.readings[0], report.readings[-1]
    rows = [
        [
            role,
            f"{first.processes[role].rss / MIB:.1f} → {now.rss / MIB:.1f}",
            f"{growth(report.readings, role):+.2f}",
            f"{first.processes[role].descriptors} → {now.descriptors}",
            f"{first.processes[role].threads} → {now.threads}",
        ]
        for role, now in last.processes.items()
    ]
    title = f"{report.served:,} served, {report.left:,} clients left, {report.errors} failed"
    columns = ["", "MiB", "MiB per 100,000", "descriptors", "threads"]
    table(title, columns, rows)
    console.print(
        f"the engine was told to stop {report.engine_cancelled:,} times "
        f"and has {report.engine_running} requests running"
    )
    for error in report.first_errors:
        console.print(f"failed: {error}", style="red", markup=False)
