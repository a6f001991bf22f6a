"""From the rounds of `bench.overhead` to tables and verdicts; pure, but for the printing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from bench.quantiles import median
from bench.report import Machine, Verdict, console, table

__all__ = [
    "CONTENDERS",
    "Cell",
    "Report",
    "Round",
    "added",
    "ratio",
    "show",
    "summarise",
    "verdicts",
]

CONTENDERS = ("direct", "garage", "unbilled", "vllm-router", "litellm")
ADDED_BOUND_MS = 1.5
PLAIN_RATIO = 0.21
STREAM_RATIO = 0.65
BILLED_BOUND_MS = 0.3
BILLED_RATIO = 0.85


class Round(msgspec.Struct, frozen=True):
    """One contender in one cell of one round."""

    number: int
    contender: str
    cell: str
    requests: int
    errors: int
    first_errors: list[str]
    rate: float  # complete answers per second
    p50_ms: float
    p99_ms: float
    first_p50_ms: float  # time to first content
    cpu_us: dict[str, float]  # CPU microseconds per request, by role


class Cell(msgspec.Struct, frozen=True):
    """Medians over the rounds of one contender in one cell."""

    contender: str
    cell: str
    requests: int
    errors: int
    rate: float
    p50_ms: float
    p99_ms: float
    first_p50_ms: float
    added_p50_ms: float  # over the engine alone, paired by round
    added_first_ms: float
    of_direct: float  # requests per second as a share of the engine alone
    of_router: float | None  # and of vllm-router, when it ran
    cpu_us: dict[str, float]


class Report(msgspec.Struct):
    """Everything `bench.overhead` writes down."""

    machine: Machine
    chunks: int
    rounds: list[Round]
    memory_bytes: dict[str, dict[str, int]]
    cells: list[Cell] = []
    verdicts: list[Verdict] = []


Figure = Callable[[Round], float]


def _pairs(rounds: Iterable[Round], cell: str, one: str, other: str) -> list[tuple[Round, Round]]:
    found = {(r.number, r.contender): r for r in rounds if r.cell == cell}
    numbers = sorted({number for number, _ in found})
    return [
        (found[n, one], found[n, other]) for n in numbers if {(n, one), (n, other)} <= found.keys()
    ]


def added(
    rounds: Sequence[Round], cell: str, one: str, figure: Figure, to: str = "direct"
) -> float:
    """Return the median over rounds of what `one` has more than another, the engine by itself."""
    pairs = _pairs(rounds, cell, one, to)
    return median([figure(mine) - figure(base) for mine, base in pairs])


def ratio(rounds: Sequence[Round], cell: str, one: str, other: str) -> float | None:
    """Return the median over rounds of the ratio of rates, None when they never met."""
    pairs = _pairs(rounds, cell, one, other)
    shares = [mine.rate / base.rate for mine, base in pairs if base.rate]
    return median(shares) if shares else None


def summarise(rounds: Sequence[Round]) -> list[Cell]:
    """Return one Cell for each cell and contender that was measured."""
    cells = dict.fromkeys(one.cell for one in rounds)
    met = {(one.cell, one.contender) for one in rounds}
    keys = [(cell, name) for cell in cells for name in CONTENDERS if (cell, name) in met]
    return [_summarise(rounds, cell, contender) for cell, contender in keys]


def _summarise(rounds: Sequence[Round], cell: str, contender: str) -> Cell:
    own = [r for r in rounds if r.cell == cell and r.contender == contender]
    roles = own[0].cpu_us
    return Cell(
        contender=contender,
        cell=cell,
        requests=sum(r.requests for r in own),
        errors=sum(r.errors for r in own),
        rate=median([r.rate for r in own]),
        p50_ms=median([r.p50_ms for r in own]),
        p99_ms=median([r.p99_ms for r in own]),
        first_p50_ms=median([r.first_p50_ms for r in own]),
        added_p50_ms=added(rounds, cell, contender, lambda r: r.p50_ms),
        added_first_ms=added(rounds, cell, contender, lambda r: r.first_p50_ms),
        of_direct=ratio(rounds, cell, contender, "direct") or 0.0,
        of_router=ratio(rounds, cell, contender, "vllm-router"),
        cpu_us={role: _cpu(own, role) for role in roles},
    )


def _cpu(own: Sequence[Round], role: str) -> float:
    """Average over all rounds: the kernel counts CPU in ticks of 10 ms, so a median would jump."""
    requests = sum(r.requests for r in own)
    return sum(r.cpu_us[role] * r.requests for r in own) / requests if requests else 0.0


def verdicts(rounds: Sequence[Round]) -> list[Verdict]:
    """Hold the figures of Garage AI against their bounds; empty when it did not take part.

    The way through the network is judged without the books, and the books against that.
    """
    if not any(r.contender == "unbilled" for r in rounds):
        return []
    found = [
        Verdict(
            "added p50 at one client",
            added(rounds, "plain x1", "unbilled", _p50),
            "ms",
            ADDED_BOUND_MS,
            "at most",
        )
    ]
    for cell, bound in (("plain x16", PLAIN_RATIO), ("stream x16", STREAM_RATIO)):
        name = f"{cell}, requests/s as a share of vllm-router's"
        found += _share(rounds, cell, ("unbilled", "vllm-router"), name, bound)
    billed = added(rounds, "plain x1", "garage", _p50, "unbilled")
    found.append(Verdict("p50 that billing adds", billed, "ms", BILLED_BOUND_MS, "at most"))
    for cell in ("plain x16", "stream x16"):
        name = f"{cell}, billed requests/s as a share of unbilled"
        found += _share(rounds, cell, ("garage", "unbilled"), name, BILLED_RATIO)
    return found


def _share(
    rounds: Sequence[Round], cell: str, who: tuple[str, str], name: str, bound: float
) -> list[Verdict]:
    share = ratio(rounds, cell, *who)
    return [] if share is None else [Verdict(name, share, "", bound, "at least")]


def _p50(one: Round) -> float:
    return one.p50_ms


def show(report: Report) -> None:
    """Print the tables."""
    for cell in dict.fromkeys(one.cell for one in report.cells):
        _show_cell(cell, [one for one in report.cells if one.cell == cell])
    for cell in ("plain x1", "plain x16", "stream x16"):
        _show_cpu(cell, [one for one in report.cells if one.cell == cell])
    _show_memory(report.memory_bytes)
    failed = [error for one in report.rounds for error in one.first_errors]
    for error in failed[:5]:
        console.print(f"failed: {error}", style="red", markup=False)


def _show_cell(title: str, cells: Sequence[Cell]) -> None:
    columns = ["", "requests/s", "of direct", "of router", "p50 ms", "p99 ms"]
    columns += ["added p50", "1st content", "added", "failed"]
    rows = [
        [
            one.contender,
            f"{one.rate:,.0f}",
            f"{one.of_direct:.2f}",
            "" if one.of_router is None else f"{one.of_router:.2f}",
            f"{one.p50_ms:.2f}",
            f"{one.p99_ms:.2f}",
            f"{one.added_p50_ms:+.2f}",
            f"{one.first_p50_ms:.2f}",
            f"{one.added_first_ms:+.2f}",
            str(one.errors),
        ]
        for one in cells
    ]
    table(f"{title} (clients)", columns, rows)


def _show_cpu(title: str, cells: Sequence[Cell]) -> None:
    roles = list(dict.fromkeys(role for one in cells for role in one.cpu_us))
    roles.sort(key=lambda role: role in {"mock engine", "load client"})
    rows = [
        [
            role,
            *(f"{one.cpu_us[role]:,.0f}" if role in one.cpu_us else "" for one in cells),
        ]
        for role in roles
    ]
    rows.append(["all", *(f"{sum(one.cpu_us.values()):,.0f}" for one in cells)])
    columns = ["CPU µs a request", *(one.contender for one in cells)]
    table(f"where the time goes: {title}", columns, rows)


def _show_memory(memory: dict[str, dict[str, int]]) -> None:
    rows = [
        [f"{contender}: {role}", f"{size / 2**20:.0f}"]
        for contender, roles in memory.items()
        for role, size in roles.items()
    ]
    if rows:
        table("memory after the last round", ["process", "MiB"], rows)
