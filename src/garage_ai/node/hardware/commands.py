"""Run another program for what it prints: bounded in time and in bytes, never through a shell."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

SECONDS: Final = 10.0
"""nvidia-smi wakes a sleeping card first, which takes seconds."""

_MOST_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Ran:
    """What a program printed, and its exit code; None when it is not there or took too long."""

    code: int | None
    text: str = ""

    @property
    def well(self) -> bool:
        """Whether it did what it was asked for."""
        return self.code == 0


Run = Callable[[Sequence[str]], Ran]


def run(argv: Sequence[str]) -> Ran:
    """Run a program and give what it printed to its standard output."""
    if shutil.which(argv[0]) is None:
        return Ran(None)
    try:
        done = subprocess.run(
            argv, capture_output=True, stdin=subprocess.DEVNULL, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return Ran(None)
    return Ran(done.returncode, done.stdout[:_MOST_BYTES].decode(errors="replace"))


__all__ = ["SECONDS", "Ran", "Run", "run"]
