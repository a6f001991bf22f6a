"""How the client commands find a `gai up` on this machine, so that nobody types URL or key.

The record in the data folder says who runs there. For a folder of the owner's choice, a pointer in
`$XDG_STATE_HOME/garage-ai` says which folder was started last.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from garage_ai.local.folders import Folders
from garage_ai.local.processes import UpRecord, is_alive, read_up, write_record

_POINTER: Final = "last-up"
_MAX_POINTER: Final = 4096


def announce(folders: Folders, record: UpRecord) -> None:
    """Say that a network runs from this folder. Raises: OSError if the record cannot be written."""
    write_record(folders.up_record, record)
    # The pointer is a convenience; a home that cannot be written to is no reason to stop.
    with contextlib.suppress(OSError):
        _point_to(folders.data)


def withdraw(folders: Folders) -> None:
    """Say that the network goes."""
    with contextlib.suppress(OSError):
        folders.up_record.unlink(missing_ok=True)
    if _pointed() == folders.data:
        with contextlib.suppress(OSError):
            _pointer().unlink(missing_ok=True)


def find(data_dir: Path) -> UpRecord | None:
    """Find the network that runs from this folder; None when none does."""
    record = read_up(Folders(data_dir).up_record)
    return record if record is not None and is_alive(record.process) else None


def find_any(default: Path) -> UpRecord | None:
    """Find the network of the default folder, else the one started last; None when none runs."""
    pointed = _pointed()
    return find(default) or (find(pointed) if pointed is not None else None)


def _pointer() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "garage-ai" / _POINTER


def _point_to(data_dir: Path) -> None:
    pointer = _pointer()
    pointer.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = pointer.with_name(f".{pointer.name}.{os.getpid()}")
    beside.write_bytes(os.fsencode(data_dir))
    beside.replace(pointer)


def _pointed() -> Path | None:
    try:
        with _pointer().open("rb") as file:
            # Only our own word counts: the folder holds a key that we would send.
            if os.fstat(file.fileno()).st_uid != os.getuid():
                return None
            return Path(os.fsdecode(file.read(_MAX_POINTER)))
    except OSError:
        return None


__all__ = ["announce", "find", "find_any", "withdraw"]
