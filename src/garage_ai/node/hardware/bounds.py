"""What this process may use at most, with all that it starts: the limits of its own cgroup.

In a container the cgroup is mounted as if it were the root; on a PC the root of all has no limits.
Docker and Podman set them with --memory, --pids-limit and --cpus. See the kernel's
admin-guide/cgroup-v2.rst (memory.max, pids.max, cpu.max) and admin-guide/cgroup-v1/memory.rst.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")
_UNLIMITED: Final = 1 << 60
"""From here on a number of cgroup v1 is none: it is the largest that fits, in whole pages."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes, how many of them are in use and cannot be given back, processes and cores.

    None where there is no limit.
    """

    memory: int | None = None
    used: int = 0
    pids: int | None = None
    cpus: float | None = None

    def holds(self, memory: int) -> bool:
        """Tell whether a PC with so much memory is kept from being used up."""
        return self.pids is not None and self.memory is not None and self.memory < memory

    def total(self, memory: int) -> int:
        """Give the bytes there are, of a PC's."""
        return memory if self.memory is None else min(memory, self.memory)

    def free(self, available: int) -> int:
        """Give the bytes that are free, of a PC's."""
        return available if self.memory is None else min(available, self.memory - self.used)

    def cores(self, cores: int) -> int:
        """Give the whole cores there are, of a PC's; one at least."""
        return cores if self.cpus is None else max(1, min(cores, int(self.cpus)))


def read_bounds(root: Path = ROOT) -> Bounds:
    """Read the limits; what cannot be read is none."""
    if (root / "cgroup.controllers").exists():
        return Bounds(
            memory=_number(root / "memory.max"),
            used=_used(root, "memory.current", "inactive_file"),
            pids=_number(root / "pids.max"),
            cpus=_share(_words(root / "cpu.max")),
        )
    period = _words(root / "cpu/cpu.cfs_period_us")
    return Bounds(
        memory=_number(root / "memory/memory.limit_in_bytes"),
        used=_used(root / "memory", "memory.usage_in_bytes", "total_inactive_file"),
        pids=_number(root / "pids/pids.max"),
        cpus=_share([*_words(root / "cpu/cpu.cfs_quota_us"), *period]),
    )


def is_bounded(root: Path = ROOT) -> bool:
    """Tell whether all of this runs in a container with limits of its own."""
    import psutil

    return read_bounds(root).holds(psutil.virtual_memory().total)


def _used(folder: Path, usage: str, cache: str) -> int:
    """Give what is in use, less files that were read and would be dropped when memory is short."""
    lines = (line.split() for line in _text(folder / "memory.stat").splitlines())
    dropped = next((int(line[1]) for line in lines if line[:1] == [cache]), 0)
    return max(0, (_number(folder / usage) or 0) - dropped)


def _share(words: list[str]) -> float | None:
    """Give quota / period as cores; a quota of `max` (v2) or -1 (v1) is none."""
    if len(words) != 2 or not all(each.isdecimal() for each in words) or words[1] == "0":
        return None
    return int(words[0]) / int(words[1])


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() and int(text) < _UNLIMITED else None


def _words(path: Path) -> list[str]:
    return _text(path).split()


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


__all__ = ["ROOT", "Bounds", "is_bounded", "read_bounds"]
