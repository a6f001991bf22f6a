"""Backup and restore of a network: its database, its keys and, if asked, the files of batches.

A restore is cut into steps of which each is done or not: all of the backup is unpacked and checked
beside its place, in a folder that is then renamed; the parts move from there, the database last.
Cut off anywhere it is finished by doing it again.
"""

import asyncio
import contextlib
import errno
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from garage_ai.audit.remembered import HEAD_FILE
from garage_ai.local.archive import (
    DATABASE,
    FILES,
    Manifest,
    may_hold,
    read_manifest,
    unpack,
    write_archive,
)
from garage_ai.local.backup_errors import FileTaken, HalfRestored, NothingThere, TargetNotEmpty
from garage_ai.local.held_files import LEFT_SECONDS, holding
from garage_ai.storage import sqlite_file
from garage_ai.storage.copying import bring_up, copy_in, copy_out, holds, is_empty, places_in
from garage_ai.wire.secret_files import make_private_folder, sync_folder

_ASIDE: Final = ".garage-ai-backup-"
_HALF: Final = ".restore-half-made-"
_WHOLE: Final = ".restore-whole-"


@dataclass(frozen=True, slots=True)
class Home:
    """Where a network keeps what is its own; `nats` is the folder of its `authority`."""

    data: Path
    nats: Path
    database_url: str

    def places(self) -> dict[str, Path]:
        """Give the place of each part but the database, by its name in a backup."""
        return {
            "nats/authority": self.nats / "authority",
            "tls": self.data / "tls",
            "admin.key": self.data / "admin.key",
            FILES: self.data / FILES,
        }


async def back_up(home: Home, target: Path, *, with_files: bool = False) -> Manifest:
    """Write a backup to a new file; gateways may run meanwhile.

    The database comes first: a node that is removed between the two is cut off by the keys.
    Raises: FileTaken, NothingThere, StorageError, OSError.
    """
    _refuse_backup(home, target)
    await asyncio.to_thread(_forget_killed, target.parent)
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        folder = Path(enter(tempfile.TemporaryDirectory(prefix=_ASIDE, dir=target.parent)))
        held = enter(holding(home.data / FILES, folder)) if with_files else None
        if held is not None:
            await asyncio.to_thread(held.hold)
        revision = await copy_out(home.database_url, folder / DATABASE)
        files = {DATABASE: folder / DATABASE} | await asyncio.to_thread(_copied, home, folder)
        if held is not None:
            await asyncio.to_thread(held.hold)
            places = await asyncio.to_thread(places_in, folder / DATABASE)
            files |= {f"{FILES}/{place}": file for place, file in held.of(places).items()}
        return await asyncio.to_thread(write_archive, target, files, revision, folder)


async def restore(source: Path, home: Home) -> Manifest:
    """Put a backup where nothing is; the same again finishes one that was cut off.

    The database is brought to this version's tables. No gateway may run there.
    Raises: BackupDamaged, BackupTooNew, TargetNotEmpty, HalfRestored, StorageError, OSError.
    """
    manifest = await asyncio.to_thread(read_manifest, source)
    whole = home.data / f"{_WHOLE}{manifest.digest[:16]}"
    if not await asyncio.to_thread(_is_begun, home, whole):
        taken = await asyncio.to_thread(_taken, home, manifest)
        if sqlite_file(home.database_url) is None and not await is_empty(home.database_url):
            taken.append("the database")
        if taken:
            raise TargetNotEmpty(taken)
        await _unpack(source, whole)
    await asyncio.to_thread(_put_keys, home, whole)
    await _put_database(home, whole / DATABASE)
    await asyncio.to_thread(shutil.rmtree, whole)
    return manifest


def _refuse_backup(home: Home, target: Path) -> None:
    if target.exists():
        raise FileTaken(target)
    authority = home.nats / "authority"
    if not authority.is_dir():
        raise NothingThere(authority)


def _forget_killed(folder: Path) -> None:
    """Remove what backups of ours that were killed have left: copies of keys and database."""
    for left in folder.glob(f"{_ASIDE}*"):
        with contextlib.suppress(OSError):
            found = left.lstat()
            ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            if ours and time.time() - found.st_mtime > LEFT_SECONDS:
                shutil.rmtree(left)


def _keys(home: Home) -> Iterator[tuple[str, Path]]:
    """Find the files of a network beside its database."""
    for name, place in home.places().items():
        if place.is_file():
            yield name, place
        elif place.is_dir() and name != FILES:
            for file in sorted(place.iterdir()):
                inside = f"{name}/{file.name}"
                if file.is_file() and may_hold(inside):  # no half-written ones, nor an editor's
                    yield inside, file


def _copied(home: Home, folder: Path) -> dict[str, Path]:
    """Copy those files, which a gateway may replace between their digest and their bytes."""
    copies = {}
    for name, file in _keys(home):
        copies[name] = folder / name
        copies[name].parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copies[name])
    return copies


def _is_begun(home: Home, whole: Path) -> bool:
    """Tell whether this backup was unpacked here before. Raises: HalfRestored."""
    make_private_folder(home.data)
    for found in home.data.glob(f"{_WHOLE}*"):
        if found != whole:
            raise HalfRestored(home.data, found)
    return whole.exists()


def _taken(home: Home, manifest: Manifest) -> list[str]:
    """Name all that is where something of the backup would go."""
    places = home.places()
    if not manifest.has_files:
        del places[FILES]  # the owner may have put them back himself
    database = sqlite_file(home.database_url)
    files = [] if database is None else [database, *_beside(database)]
    files.append(home.data / HEAD_FILE)  # of a log that is newer than the backup's
    found = (place for place in [*places.values(), *files] if _is_taken(place))
    return [str(place) for place in found]


def _is_taken(place: Path) -> bool:
    return any(place.iterdir()) if place.is_dir() else place.exists()


def _beside(database: Path) -> list[Path]:
    """Name what SQLite keeps beside a file and, where a process was killed, replays into it."""
    return [database.with_name(f"{database.name}-{end}") for end in ("wal", "shm", "journal")]


async def _unpack(source: Path, whole: Path) -> None:
    half = await asyncio.to_thread(_fresh_half, whole.parent)
    await asyncio.to_thread(unpack, source, half)
    await bring_up(half / DATABASE)
    await asyncio.to_thread(half.rename, whole)
    await asyncio.to_thread(sync_folder, whole.parent)


def _fresh_half(data: Path) -> Path:
    for left in data.glob(f"{_HALF}*"):
        shutil.rmtree(left)
    return Path(tempfile.mkdtemp(prefix=_HALF, dir=data))


def _put_keys(home: Home, whole: Path) -> None:
    for name, place in home.places().items():
        part = whole / name
        if part.is_dir() and place.is_dir():  # it may be a volume of its own
            for file in sorted(part.iterdir()):
                _move(file, place / file.name)
            part.rmdir()
        elif part.exists():
            _move(part, place)


async def _put_database(home: Home, copy: Path) -> None:
    file = sqlite_file(home.database_url)
    if not await asyncio.to_thread(copy.exists):  # cut off while the rest was removed
        return
    if file is not None:
        await asyncio.to_thread(_move_database, copy, file)
    elif not await holds(home.database_url, copy):
        await copy_in(copy, home.database_url)


def _move_database(copy: Path, file: Path) -> None:
    # The first look may be long ago: this restore was perhaps cut off before.
    if left := [str(place) for place in _beside(file) if place.exists()]:
        raise TargetNotEmpty(left)
    _move(copy, file)


def _move(part: Path, place: Path) -> None:
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        part.rename(place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _carry(part, place)
    sync_folder(place.parent)


def _carry(part: Path, place: Path) -> None:
    """Move to another file system: all is there, on its disk, before it has its name."""
    beside = Path(tempfile.mkdtemp(prefix=_HALF, dir=place.parent))
    copy = beside / place.name
    if part.is_dir():
        shutil.copytree(part, copy)
        copy.chmod(0o700)
    else:
        shutil.copy2(part, copy)
    for each in (copy, *copy.rglob("*")):
        _sync(each)
    copy.rename(place)
    beside.rmdir()
    sync_folder(place.parent)
    if part.is_dir():
        shutil.rmtree(part)
    else:
        part.unlink()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


__all__ = ["Home", "back_up", "restore"]
