"""A download that is not finished yet, and what is known of where it came from."""

import contextlib
import errno
import os
from pathlib import Path
from typing import BinaryIO

import msgspec

from garage_ai.catalog.integrity import write_whole


class Origin(msgspec.Struct, frozen=True):
    """Where the bytes so far came from; `etag` is strong or missing."""

    url: str
    etag: str | None = None


class Partial:
    """The unfinished copy of one file: its bytes beside the place they will have, and a note.

    Only the process that holds the model's lock may touch it.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f".{target.name}.part")
        self._note = target.with_name(f".{target.name}.origin")

    @property
    def size(self) -> int:
        """The bytes here so far."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    @property
    def origin(self) -> Origin | None:
        """Where the bytes so far came from, when that is known."""
        try:
            return msgspec.json.decode(self._note.read_bytes(), type=Origin)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def begin(self, offset: int, origin: Origin) -> BinaryIO:
        """Keep the first `offset` bytes and open the file to write what follows them."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("r+b" if self.path.exists() else "w+b")
        file.truncate(offset)
        file.seek(offset)
        write_whole(self._note, msgspec.json.encode(origin))
        return file

    def discard(self) -> None:
        """Remove the bytes and the note."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self) -> None:
        """Put the file in its place, whole, durable, in one step."""
        # The engine in its sandbox is another user; the folder around keeps all others out. Where a
        # file system knows no such rights, whoever starts the engine tells what is wrong.
        with contextlib.suppress(OSError):
            self.path.chmod(0o644)
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(self.target)
        self._note.unlink(missing_ok=True)
        _sync_folder(self.target.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems have no such thing
            raise
    finally:
        os.close(descriptor)
