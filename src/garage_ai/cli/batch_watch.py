"""Waiting for a batch: patient with a gateway that starts anew, and telling how far it is."""

import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from garage_ai.cli import output
from garage_ai.cli.batch_progress import Pace, Progress
from garage_ai.cli.batch_words import progress_line, say
from garage_ai.cli.errors import CliError, Unavailable, Unreachable

if TYPE_CHECKING:
    from garage_ai.cli.batch_client import BatchClient
    from garage_ai.cli.batch_shapes import Batch

PATIENCE_SECONDS: Final = 300.0
"""How long a gateway may be away before nobody waits any more."""
_FIRST_PAUSE: Final = 0.5
_LAST_PAUSE: Final = 5.0
_LINE_SECONDS: Final = 30.0
"""How often a line is printed where there is no terminal and the state is the same."""
_BAR: Final = 20
"""Columns of the bar."""
_T = TypeVar("_T")


def patiently(ask: Callable[[], _T]) -> _T:
    """Ask until a gateway that is away is back. Raises: CliError, what `ask` raises at last."""
    until = time.monotonic() + PATIENCE_SECONDS
    told = False
    while True:
        try:
            return ask()
        except (Unreachable, Unavailable) as error:
            if time.monotonic() >= until:
                raise
            if not told:
                output.remark(output.harmless(say("wait.away", reason=error.message)))
                told = True
            # Whoever waited for the same gateway does not come back at the same moment.
            time.sleep(random.uniform(_LAST_PAUSE / 5, _LAST_PAUSE))  # noqa: S311 - no secret


def wait_for(client: "BatchClient", batch: "Batch", *, quiet: bool) -> "Batch":
    """Wait for the end of a batch. Raises: CliError; KeyboardInterrupt, the batch goes on."""
    began = time.monotonic()
    pace = Pace()
    with _interruptible(batch.id), _shown(quiet=quiet) as tell:
        while True:
            now = time.monotonic()
            tell(pace.take(batch, now))
            if batch.has_ended:
                return batch
            # Short ones are told of at once, long ones cost few questions.
            time.sleep(min(_LAST_PAUSE, max(_FIRST_PAUSE, (now - began) / 20)))
            batch = patiently(partial(client.batch, batch.id))


@contextmanager
def _interruptible(batch: str) -> Iterator[None]:
    """Say how to go on, whatever ends the waiting but the batch's own end."""
    try:
        yield
    except (KeyboardInterrupt, CliError) as error:
        if isinstance(error, KeyboardInterrupt):
            output.remark()  # the terminal has just written ^C
        output.remark(say("wait.left", id=batch), style=None)
        raise


@contextmanager
def _shown(*, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Give what shows progress: a bar on a terminal, now and then a line elsewhere."""
    if quiet:
        yield lambda _: None
    elif output.is_rich(sys.stderr):
        with _bar() as tell:
            yield tell
    else:
        yield _Lines().tell


class _Lines:
    """Prints a line when the state is another one, or half a minute has gone."""

    def __init__(self) -> None:
        self._status = ""
        self._at = 0.0

    def tell(self, progress: Progress) -> None:
        """Show how far it is."""
        now = time.monotonic()
        if progress.status != self._status or now - self._at >= _LINE_SECONDS:
            self._status, self._at = progress.status, now
            output.remark(progress_line(progress), style=None)


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars
    from rich.table import Column

    # Words that go on in a second line: on 80 columns they would leave no bar, and lose their end.
    words = TextColumn("{task.description}", markup=False, table_column=Column())
    columns = (BarColumn(_BAR), words)
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)

        def tell(progress: Progress) -> None:
            total = progress.total if progress.status != "validating" else None
            line = progress_line(progress)
            bars.update(task, description=line, total=total, completed=progress.ended)

        yield tell


__all__ = ["PATIENCE_SECONDS", "patiently", "wait_for"]
