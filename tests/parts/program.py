"""A program started from a test: its output in a file, its life bound to the test run's."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from garage_ai.local.supervisor import tethered

GAI = Path(sys.executable).with_name("gai")


def at_home(home: Path, **more: str) -> dict[str, str]:
    """Give the environment of a user who lives in `home` and has set nothing of ours."""
    ours = ("GAI_", "XDG_", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"HOME": str(home), "NO_COLOR": "1"} | more


class Program:
    """A running program; whoever makes it stops it."""

    def __init__(
        self, name: str, argv: Sequence[str | Path], folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as output:
            self._from = output.tell()
            self.process = subprocess.Popen(
                tethered([str(part) for part in argv]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=dict(environment),
                start_new_session=True,
            )
        self._family: dict[int, psutil.Process] = {}

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def ended(self) -> int | None:
        """Its exit status; None while it runs."""
        return self.process.poll()

    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_bytes()[self._from :].decode("utf-8", "replace")

    def tail(self, lines: int = 30) -> str:
        """Its last lines, to read when a test failed."""
        return "\n".join([f"--- {self.name}", *self.output().splitlines()[-lines:]])

    def line(self, beginning: str) -> str:
        """Give the first whole line that begins so; empty while there is none.

        Raises: AssertionError when the program has ended.
        """
        # Looked at first: what it said before its end is all there by then.
        ended = self.ended
        whole = self.output().rpartition("\n")[0].splitlines()
        found = next((line for line in whole if line.startswith(beginning)), "")
        if not found and ended is not None:
            raise AssertionError(f"{self.name} ended with {ended}\n{self.tail()}")
        return found

    def family(self) -> list[psutil.Process]:
        """Give all of it that was ever seen and still runs."""
        with contextlib.suppress(psutil.NoSuchProcess):
            top = psutil.Process(self.pid)
            self._family |= {each.pid: each for each in (top, *top.children(recursive=True))}
        return [each for each in self._family.values() if _runs(each)]

    def signal(self, what: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(what)

    def stop(self, seconds: float = 30.0) -> int:
        """Ask it to end, wait, and give its exit status; kills it when it does not."""
        self.family()
        if self.ended is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} does not end\n{self.tail()}") from None
        finally:
            self.end_all()

    def end_all(self) -> None:
        """End whatever is left of it."""
        for each in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self.process.wait(30)


def _runs(process: psutil.Process) -> bool:
    # psutil compares start times, so that a pid given anew is not taken for ours.
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
