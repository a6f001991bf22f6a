"""How a measurement is told: tables for people, JSON for programs, and a verdict."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
from rich.console import Console
from rich.table import Table

from bench.processes import ROOT

__all__ = [
    "Machine",
    "Verdict",
    "console",
    "machine",
    "print_verdicts",
    "table",
    "warn_if_busy",
    "write_json",
]

RESULTS = ROOT / "bench" / "results"

console = Console(width=None if os.isatty(1) else 118, highlight=False)


class Verdict(msgspec.Struct, frozen=True):
    """One figure against the bound it was meant to keep."""

    name: str
    value: float
    unit: str
    bound: float
    direction: Literal["at most", "at least"]

    @property
    def met(self) -> bool:
        """Say whether the bound was kept."""
        if self.direction == "at most":
            return self.value <= self.bound
        return self.value >= self.bound

    def __str__(self) -> str:
        word = "met" if self.met else "MISSED"
        unit = f" {self.unit}" if self.unit else ""
        return (
            f"{self.name}: {self.value:.3g}{unit} ({self.direction} {self.bound:g}{unit}): {word}"
        )


class Machine(msgspec.Struct, frozen=True):
    """Where and when it was measured, and how busy the machine was before it began."""

    at: datetime
    processor: str
    cores: int
    python: str
    kernel: str
    load_average: tuple[float, float, float]


def machine() -> Machine:
    """Describe this machine."""
    return Machine(
        at=datetime.now(UTC),
        processor=_processor(),
        cores=os.cpu_count() or 1,
        python=platform.python_version(),
        kernel=platform.release(),
        load_average=os.getloadavg(),
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def warn_if_busy(described: Machine) -> None:
    """Say so when something else was using the machine."""
    load = described.load_average[0]
    if load > 0.5 * described.cores:
        console.print(
            f"[yellow]note:[/] load average {load:.1f} on {described.cores} cores at the start: "
            "ratios still hold, absolute figures are worse than they should be"
        )


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; the first column is text, the others are figures."""
    shown = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        shown.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        shown.add_row(*row)
    console.print(shown)


def print_verdicts(verdicts: Sequence[Verdict]) -> None:
    """Print one line for each verdict."""
    for verdict in verdicts:
        console.print(str(verdict), style="green" if verdict.met else "red")


def write_json(name: str, content: msgspec.Struct, given: Path | None) -> Path:
    """Write a result to the given file, or to bench/results/NAME.json, and return where."""
    path = given or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = msgspec.json.format(msgspec.json.encode(content), indent=2)
    path.write_bytes(encoded + b"\n")
    console.print(f"written to {path}", soft_wrap=True)
    return path
