"""Check that a file is the one a manifest names, and remember it while the file is unchanged."""

import asyncio
import contextlib
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from garage_ai.catalog.errors import SourceAbsent, SourceBroken, WrongDigest, WrongSize
from garage_ai.catalog.manifest import ModelFile

_BLOCK = 1024 * 1024
# One turn in the thread: long enough to cost nothing, short enough to cancel at once.
_SLICE = 64 * _BLOCK


class Stamp(msgspec.Struct, frozen=True):
    """What the file system says of a file; another stamp means it may be another file.

    The time of change is in it because the time of modification can be set at will.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int


class _Note(msgspec.Struct, frozen=True):
    path: str
    stamp: Stamp
    sha256: str


class Notary:
    """Hashes files, and keeps what it found in `folder`, one small note for each path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def check(self, path: Path, wanted: ModelFile, report: Callable[[int], None]) -> None:
        """Return when the file at `path` is `wanted`.

        Raises SourceAbsent, WrongSize, WrongDigest, or SourceBroken when it changes meanwhile.
        """
        size = stamp_of(path).size
        if size != wanted.size:
            raise WrongSize(f"{path} has {size} bytes instead of {wanted.size}")
        found = await self.sha256(path, report)
        if found != wanted.sha256:
            raise WrongDigest(f"{path} has the SHA-256 {found} instead of {wanted.sha256}")

    async def sha256(self, path: Path, report: Callable[[int], None]) -> str:
        """Return the file's SHA-256 in hexadecimal, from memory when its stamp is unchanged.

        Raises SourceAbsent, or SourceBroken when the file changes while it is read.
        """
        stamp = stamp_of(path)
        known = self._recall(path)
        if known is not None and known.stamp == stamp:
            report(stamp.size)
            return known.sha256
        found = await hash_file(path, report)
        if stamp_of(path) != stamp:
            raise SourceBroken(f"{path} changed while it was read")
        self._remember(_Note(str(path), stamp, found))
        return found

    def vouch(self, path: Path, sha256: str) -> None:
        """Remember a file that was hashed under another name and then moved to `path`."""
        self._remember(_Note(str(path), stamp_of(path), sha256))

    def _place(self, path: Path) -> Path:
        return self._folder / f"{hashlib.sha256(os.fsencode(path)).hexdigest()}.json"

    def _recall(self, path: Path) -> _Note | None:
        try:
            note = msgspec.json.decode(self._place(path).read_bytes(), type=_Note)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        return note if note.path == str(path) else None

    def _remember(self, note: _Note) -> None:
        # Fails open: without its note a file is only hashed again, as one whose name is no text.
        with contextlib.suppress(OSError, UnicodeEncodeError):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._place(Path(note.path)), msgspec.json.encode(note))


def stamp_of(path: Path) -> Stamp:
    """Read the stamp of a regular file.

    Raises SourceAbsent, also for folders, sockets and pipes.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise SourceAbsent(f"{path} is not there: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise SourceAbsent(f"{path} is not a file")
    return Stamp(
        status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev
    )


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file so that a reader sees all of it or none."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(data)
    partial.replace(path)


async def hash_file(path: Path, report: Callable[[int], None]) -> str:
    """Read the file and return its SHA-256 in hexadecimal; the loop stays free meanwhile.

    Raises SourceAbsent when it cannot be read.
    """
    digest, done = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            report(0)
            while read := await asyncio.to_thread(_hash_slice, file, digest.update):
                done += read
                report(done)
    except OSError as error:
        raise SourceAbsent(f"{path} cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def _hash_slice(file: BinaryIO, update: Callable[[bytes], None]) -> int:
    done = 0
    while done < _SLICE and (block := file.read(_BLOCK)):
        update(block)
        done += len(block)
    return done


__all__ = ["Notary", "Stamp", "hash_file", "stamp_of", "write_whole"]
