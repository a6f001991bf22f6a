"""A log file of bounded size for what a child process says."""

from pathlib import Path
from typing import BinaryIO, Final

MAX_LOG: Final = 1024 * 1024
_MAX_LINE: Final = 4096


class BoundedLog:
    """Append lines to a file (0600); past `max_bytes` it becomes `NAME.1`."""

    def __init__(self, path: Path, max_bytes: int = MAX_LOG) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._file: BinaryIO | None = None
        self._size = 0

    def write(self, line: bytes) -> None:
        """Add a line, cut to 4 KiB; a disk that is full loses the line and nothing else."""
        try:
            file = self._file or self._open()
            text = line[:_MAX_LINE].rstrip(b"\r\n") + b"\n"
            file.write(text)
            file.flush()
        except OSError:
            self.close()
            return
        self._size += len(text)
        if self._size > self._max_bytes:
            self.close()

    def close(self) -> None:
        """Close the file; the next line opens it anew."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError:
                return

    def _open(self) -> BinaryIO:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._path.exists() and self._path.stat().st_size > self._max_bytes:
            self._path.replace(self._path.with_name(self._path.name + ".1"))
        file = self._path.open("ab")
        self._path.chmod(0o600)
        self._size = file.tell()
        self._file = file
        return file


__all__ = ["BoundedLog"]
