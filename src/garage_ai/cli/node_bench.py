"""`gai node bench`: how fast the engine is, measured on purpose."""

import sys

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from garage_ai.cli import output
from garage_ai.cli.node_bench_words import bench_lines, drift_lines
from garage_ai.cli.node_run import configure_logs, guarded, run_async
from garage_ai.cli.node_screen import NodeScreen
from garage_ai.cli.node_words import say
from garage_ai.node.bench.drift import Change, Drift
from garage_ai.node.bench.service import Outcome
from garage_ai.node.bench.service import bench as measure
from garage_ai.node.folder import NodeFolder
from garage_ai.wire.benchmarks import Benchmark, Level


class Shown(msgspec.Struct, frozen=True):
    """What `gai node bench --json` prints; `unsent` says why the gateway does not have it."""

    benchmark: Benchmark
    drift: tuple[Drift, ...]
    changes: tuple[Change, ...]
    sent: bool
    unsent: str


class _Bar:
    """Shows how far a level is: a bar on a terminal, a line when it is done elsewhere."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        if output.is_rich(sys.stderr):
            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=1.0)
        self._level = 0

    def tell(self, streams: int, share: float) -> None:
        """Show a level's share."""
        words = say("bench.level", streams=streams)
        if self._bar is not None:
            self._bar.update(self._task, description=words, completed=share)
        elif streams != self._level:
            output.remark(f"  {words}", style=None)
        self._level = streams

    def end(self) -> None:
        """Let the terminal rest."""
        if self._bar is not None:
            self._bar.stop()


def bench(folder: NodeFolder, *, as_json: bool) -> None:
    """Measure, and show what was found. Raises: CliError."""
    record = guarded(folder.load)
    configure_logs()
    screen, bar = NodeScreen(), _Bar()
    try:
        tell = (lambda _: None) if as_json else screen.tell
        found = run_async(measure(folder, tell, bar.tell))
    finally:
        bar.end()
        screen.end()
    if as_json:
        shown = Shown(found.benchmark, found.drift, found.changes, not found.unsent, found.unsent)
        output.write_json(shown)
        return
    _show(found)
    if found.unsent:
        output.remark(say("bench.unsent", reason=output.harmless(found.unsent)), style="yellow")
    else:
        output.write(say("bench.sent", gateway=record.gateway))


def _show(found: Outcome) -> None:
    result = found.benchmark
    columns = ("streams", "decode", "prefill", "ttft", "worst", "failed")
    output.write_table(
        [say(f"bench.{column}") for column in columns], [_row(level) for level in result.levels]
    )
    for line in (*bench_lines(result), *drift_lines(found.drift, found.changes)):
        output.write(line)


def _row(level: Level) -> tuple[str, ...]:
    return (
        str(level.streams),
        f"{level.decode:.1f}",
        f"{level.prefill:.0f}",
        f"{level.ttft:.2f} s",
        f"{level.ttft_worst:.2f} s",
        str(level.failed),
    )


__all__ = ["bench"]
