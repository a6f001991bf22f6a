"""Which process is meant: a pid alone may be another's by now.

A pid, the tick at which the kernel started it and the kernel's boot id name a process for ever.
"""

import os
import time
from pathlib import Path
from typing import Final, TypeVar

import msgspec

_STATE: Final = 0
_START_TICK: Final = 19
"""Fields of /proc/PID/stat after the name, see proc_pid_stat(5)."""

_MAX_RECORD: Final = 64 * 1024
_SUFFIX: Final = ".json"


class ProcessMark(msgspec.Struct, frozen=True):
    """One process of one boot; `tick` in clock ticks since boot."""

    pid: int
    tick: int
    boot: str


class ChildRecord(msgspec.Struct, frozen=True):
    """A child that a supervisor started; `started_at` in seconds since 1970, for people."""

    name: str
    process: ProcessMark
    started_at: float


class UpRecord(msgspec.Struct, frozen=True):
    """A running `gai up`: who it is and how it is reached.

    `url` is the gateway's base without `/v1`, `host` and `port` where this machine gets at it; `ca`
    the file a client must trust, None without TLS of its own making.
    """

    process: ProcessMark
    url: str
    host: str
    port: int
    data_dir: str
    ca: str | None
    started_at: float


def mark_of(pid: int) -> ProcessMark | None:
    """Read the mark of a process; None when there is none, or only its zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name stands in parentheses and may itself hold any character.
    fields = stat.rpartition(")")[2].split()
    if fields[_STATE] in ("Z", "X"):
        return None
    return ProcessMark(pid, int(fields[_START_TICK]), _boot_id())


def is_alive(mark: ProcessMark) -> bool:
    """Tell whether that very process runs."""
    return mark_of(mark.pid) == mark


def own_mark() -> ProcessMark:
    """Give the mark of this process."""
    mark = mark_of(os.getpid())
    if mark is None:
        raise RuntimeError("this process has no entry in /proc")
    return mark


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def child_record_path(folder: Path, name: str) -> Path:
    """Name the file that records a child."""
    return folder / f"{name}{_SUFFIX}"


def write_child(folder: Path, name: str, pid: int) -> None:
    """Record a child that has just been started; nothing when it has ended already."""
    mark = mark_of(pid)
    if mark is not None:
        write_record(child_record_path(folder, name), ChildRecord(name, mark, time.time()))


def write_record(path: Path, record: ChildRecord | UpRecord) -> None:
    """Write a record so that a reader sees all of it or nothing. Raises: OSError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
    beside.replace(path)


def read_child(path: Path) -> ChildRecord | None:
    """Read a child's record; None when there is none that can be read."""
    return _read(path, ChildRecord)


def read_up(path: Path) -> UpRecord | None:
    """Read the record of a `gai up`; None when there is none that can be read."""
    return _read(path, UpRecord)


_T = TypeVar("_T")


def _read(path: Path, kind: type[_T]) -> _T | None:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_MAX_RECORD), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None


__all__ = [
    "ChildRecord",
    "ProcessMark",
    "UpRecord",
    "child_record_path",
    "is_alive",
    "mark_of",
    "own_mark",
    "read_child",
    "read_up",
    "write_child",
    "write_record",
]
