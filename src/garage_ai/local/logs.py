"""The log of a child: what it says, in a file that stays small."""

import asyncio
import os
from collections import deque
from itertools import pairwise
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 4 * 1024 * 1024
KEPT: Final = 2
"""Older files beside the current one, as NAME.1 and NAME.2."""

_READ: Final = 64 * 1024
_TAIL: Final = 32 * 1024
_LAST_WORDS: Final = 1024 * 1024


class LogFile:
    """A file that is appended to and moved aside when it is full.

    A disk that is full loses log lines and stops nobody: `lost` counts the bytes.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> None:
        self.path: Final = path
        self.lost = 0
        self._refused = ""
        self._max_bytes = max_bytes
        self._kept = kept

    def write(self, data: bytes) -> None:
        """Append bytes."""
        try:
            if self._size() + len(data) > self._max_bytes:
                self._rotate()
            # Opened each time: logs are few, and an owner may move the file away.
            with self.path.open("ab") as file:
                file.write(data)
            self._refused = ""
        except OSError as error:
            self.lost += len(data)
            self._refused = error.strerror or str(error)

    def tail(self, lines: int) -> tuple[str, ...]:
        """Give the last lines, oldest first; behind them why there are no newer ones, if so."""
        told = (f"{self.path} cannot be written: {self._refused}",) if self._refused else ()
        return (*self._written(lines), *told)[-lines:]

    def _written(self, lines: int) -> tuple[str, ...]:
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, self._size() - _TAIL))
                text = file.read(_TAIL).decode("utf-8", errors="replace")
        except OSError:
            return ()
        return tuple(deque((line for line in text.splitlines() if line.strip()), maxlen=lines))

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def _rotate(self) -> None:
        names = [self.path, *(Path(f"{self.path}.{n}") for n in range(1, self._kept + 1))]
        for newer, older in reversed(list(pairwise(names))):
            if newer.exists():
                newer.replace(older)


class LogPipe:
    """The pipe a child writes to; what comes out goes into its log."""

    def __init__(self, log: LogFile) -> None:
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._reader, self.writer = os.pipe()
        self._writer_open = True
        self._reader_open = True
        os.set_blocking(self._reader, False)
        self._loop.add_reader(self._reader, self._read)

    def handed_over(self) -> None:
        """Close our copy of the writing end: the child has its own."""
        if self._writer_open:
            os.close(self.writer)
            self._writer_open = False

    def close(self) -> None:
        """Take the child's last words and end, whoever else still holds the pipe."""
        self.handed_over()
        taken = 0
        while self._reader_open and taken < _LAST_WORDS:
            size = self._read()
            if size == 0:
                break
            taken += size
        self._end()

    def _read(self) -> int:
        try:
            data = os.read(self._reader, _READ)
        except BlockingIOError:
            return 0
        if not data:
            self._end()
            return 0
        self._log.write(data)
        return len(data)

    def _end(self) -> None:
        if self._reader_open:
            self._loop.remove_reader(self._reader)
            os.close(self._reader)
            self._reader_open = False


__all__ = ["KEPT", "MAX_BYTES", "LogFile", "LogPipe"]
