"""Where the bytes of files are: a folder by default, a bucket by setting.

A file is written once, is there whole or not at all, and is never changed.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final, Protocol, TypeVar, TypeVarTuple

import structlog

from garage_ai.batch.errors import FileStoreUnavailable
from garage_ai.wire.secret_files import sync_folder

_log = structlog.get_logger(__name__)

CHUNK: Final = 256 * 1024
"""Bytes that are held of a file that is read or written."""

_PART: Final = ".part"

_Args = TypeVarTuple("_Args")
_Given = TypeVar("_Given")


class Writing(Protocol):
    """A file on its way into the store; ends with `commit` or `abort`."""

    async def write(self, data: bytes) -> None:
        """Append bytes. Raises: FileStoreUnavailable."""

    async def commit(self) -> None:
        """Let the file be there; it is on the disk. Raises: FileStoreUnavailable."""

    async def abort(self) -> None:
        """Throw away what was written; harmless afterwards."""


class FileStore(Protocol):
    """Files by their places, which are names without slashes."""

    async def create(self, place: str) -> Writing:
        """Begin a file. Raises: FileStoreUnavailable."""
        ...

    async def read(self, place: str, offset: int, length: int) -> bytes:
        """Give that many bytes, or fewer at the end. Raises: FileStoreUnavailable."""
        ...

    def stream(self, place: str, offset: int = 0) -> AsyncIterator[bytes]:
        """Give a file from there on, in pieces of about `CHUNK`; `offset` lies within the file.

        Raises: FileStoreUnavailable.
        """
        ...

    async def delete(self, place: str) -> None:
        """Let a file be gone, whole or half written; idempotent. Raises: FileStoreUnavailable."""


def unavailable(reason: str) -> FileStoreUnavailable:
    """Make the error; the log alone says why, since a client is told no more than its code."""
    _log.warning("file_store_failed", reason=reason)
    return FileStoreUnavailable(reason)


class Folder:
    """Files in a folder of this machine, readable by its owner alone."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def create(self, place: str) -> Writing:
        """Begin a file beside its place. Raises: FileStoreUnavailable."""
        return await _in_thread(_FolderWriting, self._path, place)

    async def read(self, place: str, offset: int, length: int) -> bytes:
        """Give a part of a file. Raises: FileStoreUnavailable."""
        return await _in_thread(_read, self._path / place, offset, length)

    async def stream(self, place: str, offset: int = 0) -> AsyncIterator[bytes]:
        """Give a file in pieces. Raises: FileStoreUnavailable."""
        file = await _in_thread(_open_at, self._path / place, offset)
        try:
            while piece := await _in_thread(file.read, CHUNK):
                yield piece
        finally:
            file.close()

    async def delete(self, place: str) -> None:
        """Remove a file. Raises: FileStoreUnavailable."""
        await _in_thread(_delete, self._path / place)


class _FolderWriting:
    """A file under another name until it is whole and on the disk."""

    def __init__(self, folder: Path, place: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._place = folder / place
        self._part = folder / (place + _PART)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._file = FileIO(os.open(self._part, flags, 0o600), "wb")

    async def write(self, data: bytes) -> None:
        await _in_thread(_write_all, self._file, data)

    async def commit(self) -> None:
        await _in_thread(self._commit)

    def _commit(self) -> None:
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.rename(self._place)
        sync_folder(self._place.parent)

    async def abort(self) -> None:
        await _in_thread(self._abort)

    def _abort(self) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)


def _write_all(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def _open_at(path: Path, offset: int) -> BinaryIO:
    file = path.open("rb")
    file.seek(offset)
    return file


def _read(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _delete(path: Path) -> None:
    for each in (path, path.with_name(path.name + _PART)):
        each.unlink(missing_ok=True)


async def _in_thread(work: Callable[[*_Args], _Given], *args: *_Args) -> _Given:
    """Do what waits for the disk beside the event loop. Raises: FileStoreUnavailable."""
    try:
        return await asyncio.to_thread(work, *args)
    except OSError as error:
        raise unavailable(error.strerror or type(error).__name__) from error


__all__ = ["CHUNK", "FileStore", "Folder", "Writing", "unavailable"]
