"""`gai node bench`: how fast the engine is, measured on purpose."""

import sys

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from garage_ai.cli import output
from garage_ai.cli.node_run import configure_logs, guarded, run_async
from garage_ai.cli.node_screen import NodeScreen
from garage_ai.cli.node_words import say
from garage_ai.node.bench.history import Drift
from garage_ai.node.bench.service import bench as measure
from garage_ai.node.folder import NodeFolder
from garage_ai.wire.benchmarks import Benchmark, Level


class Shown(msgspec.Struct, frozen=True):
    """What `gai node bench --json` prints; `unsent` says why the gateway does not have it."""

    benchmark: Benchmark
    drift: tuple[Drift, ...]
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
        result, changed, unsent = run_async(measure(folder, tell, bar.tell))
    finally:
        bar.end()
        screen.end()
    if as_json:
        output.write_json(Shown(result, changed, not unsent, unsent))
        return
    _show(result, changed)
    if unsent:
        output.remark(say("bench.unsent", reason=output.harmless(unsent)), style="yellow")
    else:
        output.write(say("bench.sent", gateway=record.gateway))


def _show(result: Benchmark, changed: tuple[Drift, ...]) -> None:
    columns = ("streams", "decode", "prefill", "ttft", "worst", "failed")
    output.write_table(
        [say(f"bench.{column}") for column in columns], [_row(level) for level in result.levels]
    )
    if result.load is not None:
        output.write(say("bench.load", seconds=result.load))
    if result.round_trip is not None:
        output.write(say("bench.round_trip", ms=result.round_trip * 1000))
    for each in changed:
        values = {"before": each.before, "now": each.now, "change": each.change}
        output.write(say("bench.drift", streams=each.streams, **values))


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
