"""A program at a terminal of its own, that is typed on and read."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from codecs import getincrementaldecoder
from collections.abc import Mapping, Sequence
from typing import Final

SECONDS: Final = 60.0
"""How long something that is about to come is waited for."""

# The first terminal that a session's leader opens is its own: Ctrl-C typed there is a signal.
TAKE_TERMINAL: Final = (
    "import os, sys; os.close(os.open(os.ttyname(0), os.O_RDWR));"
    "os.execv(sys.argv[1], sys.argv[1:])"
)
_STEERING: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A running program; `close` ends it."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", TAKE_TERMINAL, *argv],
            env={**environment, "TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self.seen = ""

    def until(self, text: str) -> str:
        """Read until a text comes; give all since the last call."""
        deadline = time.monotonic() + SECONDS
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            self._read(deadline - time.monotonic())
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def end(self) -> str:
        """Read until the program has ended; give all since the last call."""
        deadline = time.monotonic() + SECONDS
        while self._read(deadline - time.monotonic()):
            assert time.monotonic() < deadline, self.seen
        said, self.seen = self.seen, ""
        return said

    def type_until(self, typed: str, text: str) -> None:
        """Type until a text comes: readline misses a Ctrl-C that falls between two reads."""
        deadline = time.monotonic() + SECONDS
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            self.type(typed)
            again = time.monotonic() + 1
            while text not in self.seen and time.monotonic() < again:
                self._read(0.1)
        self.until(text)

    def type(self, text: str) -> None:
        """Type a text."""
        os.write(self._master, text.encode())

    def close(self) -> None:
        """End the program, and take its terminal away."""
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def _read(self, limit: float) -> bool:
        """Read what there is within a time; tell whether more may come."""
        if not select.select([self._master], [], [], max(0.0, limit))[0]:
            return True
        try:
            data = os.read(self._master, 4096)
        except OSError:  # EIO: nobody has the other end open any more
            return False
        self.seen += self._decoder.decode(data)
        return bool(data)


def plain(said: str) -> str:
    """Leave out what steers a terminal, and how it is cut into lines."""
    return " ".join(_STEERING.sub("", said).split())


__all__ = ["Terminal", "plain"]
