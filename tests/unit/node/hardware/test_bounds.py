"""Limits of the container that all runs in, in files as the kernel lays them out."""

from pathlib import Path

import pytest

from garage_ai.node.hardware.bounds import Bounds, read_bounds

GIB = 1 << 30


def put(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


V2 = {
    "cgroup.controllers": "cpu memory pids\n",
    "memory.max": f"{8 * GIB}\n",
    "memory.current": f"{3 * GIB}\n",
    "memory.stat": f"anon {GIB}\ninactive_file {2 * GIB}\nactive_file 4096\n",
    "pids.max": "512\n",
    "cpu.max": "250000 100000\n",
}
V1 = {
    "memory/memory.limit_in_bytes": f"{8 * GIB}\n",
    "memory/memory.usage_in_bytes": f"{3 * GIB}\n",
    "memory/memory.stat": f"inactive_file 0\ntotal_inactive_file {2 * GIB}\n",
    "pids/pids.max": "512\n",
    "cpu/cpu.cfs_quota_us": "250000\n",
    "cpu/cpu.cfs_period_us": "100000\n",
}
NONE_V2 = V2 | {"memory.max": "max\n", "pids.max": "max\n", "cpu.max": "max 100000\n"}
NONE_V1 = V1 | {
    "memory/memory.limit_in_bytes": "9223372036854771712\n",
    "pids/pids.max": "max\n",
    "cpu/cpu.cfs_quota_us": "-1\n",
}


@pytest.mark.parametrize("files", [V2, V1], ids=["v2", "v1"])
def test_a_container_has_limits(tmp_path: Path, files: dict[str, str]) -> None:
    """Both kinds of cgroup say the same; files that were read do not count as used."""
    bounds = read_bounds(put(tmp_path, files))
    assert bounds == Bounds(memory=8 * GIB, used=GIB, pids=512, cpus=2.5)
    assert bounds.holds(32 * GIB)
    assert bounds.total(32 * GIB) == 8 * GIB
    assert bounds.free(20 * GIB) == 7 * GIB
    assert bounds.cores(16) == 2


@pytest.mark.parametrize("files", [NONE_V2, NONE_V1, {}], ids=["v2", "v1", "no cgroups"])
def test_without_limits_all_is_there(tmp_path: Path, files: dict[str, str]) -> None:
    """A container that may use all, a PC, and what cannot be read: nothing holds."""
    bounds = read_bounds(put(tmp_path, files))
    assert (bounds.memory, bounds.pids, bounds.cpus) == (None, None, None)
    assert not bounds.holds(32 * GIB)
    assert (bounds.total(GIB), bounds.free(GIB), bounds.cores(16)) == (GIB, GIB, 16)


@pytest.mark.parametrize(
    ("bounds", "holds"),
    [
        (Bounds(memory=32 * GIB, pids=512), False),
        (Bounds(memory=8 * GIB), False),
        (Bounds(pids=512), False),
        (Bounds(memory=31 * GIB, pids=512), True),
    ],
)
def test_limits_hold_when_they_leave_something(bounds: Bounds, holds: bool) -> None:
    """All of the PC's memory is no limit, and neither is one of the two alone."""
    assert bounds.holds(32 * GIB) is holds


def test_less_than_a_core_is_one(tmp_path: Path) -> None:
    """An engine needs a thread."""
    assert read_bounds(put(tmp_path, V2 | {"cpu.max": "50000 100000"})).cores(16) == 1
