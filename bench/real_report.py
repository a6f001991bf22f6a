"""From the pairs and segments of `bench.real` to tables and verdicts."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bench.quantiles import median, summary
from bench.report import Machine, Verdict, console, table

__all__ = ["Cell", "Pair", "RealReport", "Segment", "show", "summarise", "verdicts"]

TOKENS_SHARE = 0.95
ADDED_FIRST_MS = 10.0
FIRST_TOKEN_MS = 500.0
CLIENTS_JUDGED = 8


class Pair(msgspec.Struct, frozen=True):
    """Milliseconds to the first token, both ways, one right after the other."""

    direct_ms: float
    garage_ms: float


class Segment(msgspec.Struct, frozen=True):
    """One way under one number of clients in one round."""

    number: int
    way: str
    clients: int
    requests: int
    errors: list[str]
    tokens_per_second: float  # content events; llama.cpp sends one for each token
    requests_per_minute: float
    first_p50_ms: float


class Cell(msgspec.Struct, frozen=True):
    """Medians over the rounds."""

    way: str
    clients: int
    tokens_per_second: float
    requests_per_minute: float
    first_p50_ms: float
    share: float  # of the engine's own tokens per second, paired by round


class RealReport(msgspec.Struct):
    """Everything `bench.real` writes down."""

    machine: Machine
    pairs: list[Pair]
    segments: list[Segment]
    cells: list[Cell] = []
    verdicts: list[Verdict] = []


def _share(segments: Sequence[Segment], way: str, clients: int) -> float:
    at = {(s.number, s.way): s.tokens_per_second for s in segments if s.clients == clients}
    numbers = {number for number, _ in at}
    return median([at[n, way] / at[n, "direct"] for n in numbers if at.get((n, "direct"))])


def summarise(segments: Sequence[Segment]) -> list[Cell]:
    """Return one Cell for each number of clients and each way."""
    keys = sorted({(s.clients, s.way) for s in segments})
    return [_cell(segments, clients, way) for clients, way in keys]


def _cell(segments: Sequence[Segment], clients: int, way: str) -> Cell:
    own = [s for s in segments if (s.clients, s.way) == (clients, way)]
    return Cell(
        way=way,
        clients=clients,
        tokens_per_second=median([s.tokens_per_second for s in own]),
        requests_per_minute=median([s.requests_per_minute for s in own]),
        first_p50_ms=median([s.first_p50_ms for s in own]),
        share=_share(segments, way, clients),
    )


def verdicts(pairs: Sequence[Pair], segments: Sequence[Segment]) -> list[Verdict]:
    """Hold the figures against their bounds."""
    differences = [pair.garage_ms - pair.direct_ms for pair in pairs]
    first = summary([pair.garage_ms for pair in pairs])
    return [
        Verdict(
            name=f"tokens/s at {CLIENTS_JUDGED} clients, share of the engine's own",
            value=_share(segments, "garage", CLIENTS_JUDGED),
            unit="",
            bound=TOKENS_SHARE,
            direction="at least",
        ),
        Verdict(
            name=f"first token, median of {len(pairs)} paired differences",
            value=median(differences),
            unit="ms",
            bound=ADDED_FIRST_MS,
            direction="at most",
        ),
        Verdict(
            name="first token through the network at one client, p99",
            value=first.p99,
            unit="ms",
            bound=FIRST_TOKEN_MS,
            direction="at most",
        ),
    ]


def show(report: RealReport) -> None:
    """Print the tables."""
    columns = ["clients", "", "tokens/s", "share", "requests/min", "first token p50 ms"]
    rows = [
        [
            str(cell.clients),
            cell.way,
            f"{cell.tokens_per_second:.1f}",
            f"{cell.share:.3f}",
            f"{cell.requests_per_minute:.1f}",
            f"{cell.first_p50_ms:.0f}",
        ]
        for cell in report.cells
    ]
    table("throughput, streamed", columns, rows)
    _show_first_tokens(report.pairs)
    for segment in report.segments:
        for error in segment.errors:
            console.print(f"failed: {error}", style="red", markup=False)


def _show_first_tokens(pairs: Sequence[Pair]) -> None:
    samples = {
        "direct": [pair.direct_ms for pair in pairs],
        "garage": [pair.garage_ms for pair in pairs],
        "difference": [pair.garage_ms - pair.direct_ms for pair in pairs],
    }
    rows = [
        [name, f"{found.p50:.1f}", f"{found.p99:.1f}", f"{found.worst:.1f}"]
        for name, found in ((name, summary(values)) for name, values in samples.items())
    ]
    table(f"first token, {len(pairs)} pairs", ["ms", "p50", "p99", "worst"], rows)
