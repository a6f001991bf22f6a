"""What `bench.moves` found: streams, moves, gaps, verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from bench.quantiles import quantile
from bench.report import Machine, Verdict, console, table

__all__ = ["Gaps", "MovesReport", "gaps_of", "show", "verdicts"]

GAP_BOUND = 1.0  # seconds
PLANNED_BOUND = 0.25  # of a move that was told beforehand: the next node has begun by then


class Gaps(msgspec.Struct, frozen=True):
    """How long clients heard nothing, over the moves of one reason; seconds."""

    moves: int
    p50: float
    p95: float
    worst: float


class MovesReport(msgspec.Struct):
    """Everything `bench.moves` writes down."""

    machine: Machine
    streams: int
    failed: int
    first_errors: list[str]
    faults: int  # nodes killed or made to hand back
    gaps: dict[str, Gaps]  # by what became of the node before, `all` for all
    heard: Gaps  # the longest silences of moved streams, as their clients measured them
    verdicts: list[Verdict] = []


def gaps_of(seconds: Sequence[float]) -> Gaps:
    """Sum up gaps in any order."""
    ordered = sorted(seconds)
    return Gaps(
        moves=len(ordered),
        p50=quantile(ordered, 0.5),
        p95=quantile(ordered, 0.95),
        worst=quantile(ordered, 1.0),
    )


def verdicts(report: MovesReport, wanted: int, *, bound_gaps: bool = True) -> list[Verdict]:
    """Hold failures, the number of moves and, of an engine that takes no time, gaps to bounds."""
    every, planned = report.gaps["all"], report.gaps.get("planned", gaps_of([]))
    found = [
        Verdict("streams that failed", report.failed, "", 0, "at most"),
        Verdict("moves", every.moves, "", wanted, "at least"),
    ]
    if not bound_gaps:
        return found
    return [
        *found,
        Verdict("gap, p95", every.p95, "s", GAP_BOUND, "at most"),
        Verdict("gap as clients heard it, p95", report.heard.p95, "s", GAP_BOUND, "at most"),
        Verdict("planned moves", planned.moves, "", 1, "at least"),
        Verdict("gap of a planned move, p95", planned.p95, "s", PLANNED_BOUND, "at most"),
    ]


def show(report: MovesReport) -> None:
    """Print the table."""
    rows: Mapping[str, Gaps] = {**report.gaps, "heard by clients": report.heard}
    table(
        f"{report.streams:,} streams, {report.faults} faults, {report.failed} streams failed",
        ["what became of the node", "moves", "gap p50 s", "p95", "worst"],
        [
            [name, f"{gaps.moves:,}", f"{gaps.p50:.3f}", f"{gaps.p95:.3f}", f"{gaps.worst:.3f}"]
            for name, gaps in rows.items()
        ],
    )
    for error in report.first_errors:
        console.print(f"failed: {error}", style="red", markup=False)
