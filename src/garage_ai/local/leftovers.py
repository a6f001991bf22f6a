"""What an earlier `gai up` of the same folder left: nothing, a live one, or orphans to end.

Only processes recorded in this folder by pid, start and boot are touched; nodes that somebody
started with `gai node` are never among them.
"""

import asyncio
import fcntl
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from garage_ai.local.errors import AlreadyUp
from garage_ai.local.folders import Folders
from garage_ai.local.processes import ChildRecord, is_alive, read_child, read_up

_STEP: Final = 0.02


class Claim:
    """The right to run a network in a folder; the kernel takes it back when we end."""

    def __init__(self, handle: int) -> None:
        self._handle: int | None = handle

    def release(self) -> None:
        """Give the folder back."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


async def claim(folders: Folders, patience: float = 3.0) -> Claim:
    """Take the folder, waiting up to `patience` seconds for a `gai up` that is leaving.

    Raises: AlreadyUp.
    """
    handle = os.open(folders.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = asyncio.get_running_loop().time() + patience
    while not _locked(handle):
        other = read_up(folders.up_record)
        settled = other is not None and is_alive(other.process)
        if settled or asyncio.get_running_loop().time() >= deadline:
            os.close(handle)
            pid = other.process.pid if other else None
            raise AlreadyUp(folders.data, pid, other.url if other else None)
        await asyncio.sleep(_STEP)
    return Claim(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def end_leftovers(folders: Folders, grace: float = 2.0) -> tuple[ChildRecord, ...]:
    """End recorded children that outlived their `gai up`: asked first, killed after `grace`.

    Call only with the folder claimed. Gives those that were found alive.
    """
    records = _children(folders.run)
    alive = tuple(record for record in records.values() if is_alive(record.process))
    _signal(alive, signal.SIGTERM)
    await _gone(alive, grace)
    _signal(alive, signal.SIGKILL)
    await _gone(alive, grace)
    for path in records:
        path.unlink(missing_ok=True)
    return alive


def _children(run_dir: Path) -> dict[Path, ChildRecord]:
    found = ((path, read_child(path)) for path in sorted(run_dir.glob("*.json")))
    return {path: record for path, record in found if record is not None}


def _signal(records: Sequence[ChildRecord], number: signal.Signals) -> None:
    for record in records:
        if is_alive(record.process):
            try:
                os.kill(record.process.pid, number)
            except ProcessLookupError:
                continue


async def _gone(records: Sequence[ChildRecord], limit: float) -> None:
    deadline = asyncio.get_running_loop().time() + limit
    while any(is_alive(record.process) for record in records):
        if asyncio.get_running_loop().time() >= deadline:
            return
        await asyncio.sleep(_STEP)


__all__ = ["Claim", "claim", "end_leftovers"]
