"""What this PC is: processor, memory, system, disk and cards."""

import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Final

from garage_ai.node.hardware.bounds import read_bounds
from garage_ai.node.hardware.commands import Run, run
from garage_ai.node.hardware.models import Gpus, Pc, Place
from garage_ai.node.hardware.nvidia_smi import parse_version, read_nvidia_smi
from garage_ai.node.hardware.nvml import read_nvml

# PCI vendors (https://pcisig.com); NVIDIA's own cards are read through its driver.
_MAKERS: Final = {"0x1002": "AMD", "0x8086": "Intel"}
_NVIDIA: Final = "0x10de"
_MOST_CARDS: Final = 64
_ALL_PROCESSES: Final = "pid:[4026531836]"
"""The first namespace of processes, which every other is inside (PROC_PID_INIT_INO, proc_ns.h)."""


def read_gpus(ask: Run = run) -> Gpus:
    """Give the NVIDIA cards: through NVML, else through nvidia-smi."""
    return read_nvml() or read_nvidia_smi(ask)


def read_pc(folder: Path, *, root: Path = Path("/"), gpus: Gpus | None = None) -> Pc:
    """Look at this PC; `folder` is where the node's data is to lie, `root` where files are."""
    import psutil

    memory = psutil.virtual_memory()
    bounds = read_bounds(root / "sys/fs/cgroup")
    release = platform.release()
    return Pc(
        system=platform.system(),
        distribution=read_distribution(root),
        kernel=parse_version(release) or (0, 0),
        wsl=is_wsl(release, root),
        python=sys.version_info[:2],
        cpu=read_cpu(root),
        cores=bounds.cores(os.cpu_count() or 1),
        memory=bounds.total(int(memory.total)),
        memory_free=bounds.free(int(memory.available)),
        disk_free=disk_free(folder),
        gpus=read_gpus() if gpus is None else gpus,
        others=other_cards(root),
        container=place(root) == "container",
    )


def read_distribution(root: Path) -> str:
    """Give the distribution's name for people (os-release(5)); empty if it does not say."""
    for line in _lines(root / "etc/os-release"):
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip().strip('"')[:100]
    return ""


def read_cpu(root: Path) -> str:
    """Give the processor's name; empty if the kernel does not say."""
    for line in _lines(root / "proc/cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            return value.strip()[:100]
    return ""


def is_wsl(release: str, root: Path) -> bool:
    """Tell whether this Linux runs inside Windows (WSL2), whose GPU hides other programs' use."""
    return "microsoft" in release.lower() or (root / "dev/dxg").exists()


def place(root: Path = Path("/")) -> Place:
    """Tell where this runs, by whose programs are seen from here.

    Files that containers leave as marks stay where a disk is made of an image, and a container may
    share the PC's list of processes; the list itself tells. Each Linux of WSL2 has one of its own.
    """
    if is_wsl(platform.release(), root):
        return "wsl"
    try:
        seen = (root / "proc/self/ns/pid").readlink().name
    except OSError:
        return "pc"
    return "pc" if seen == _ALL_PROCESSES else "container"


def other_cards(root: Path) -> tuple[str, ...]:
    """Name the makers of cards that no engine here can use yet, once for each card."""
    found = []
    for card in sorted((root / "sys/class/drm").glob("card[0-9]*/device/vendor"))[:_MOST_CARDS]:
        vendor = "".join(_lines(card)).strip()
        if vendor in _MAKERS and "-" not in card.parent.parent.name:
            found.append(_MAKERS[vendor])
    return tuple(found)


def nvidia_on_the_bus(root: Path) -> bool:
    """Tell whether an NVIDIA card is plugged in, whatever its driver does."""
    found = (root / "sys/bus/pci/devices").glob("*/vendor")
    displays = (each for each in found if _text(each.with_name("class")).startswith("0x03"))
    return any(_text(each) == _NVIDIA for each in displays)


def disk_free(folder: Path) -> int:
    """Give the free bytes where the folder is, or will be."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free


def _text(path: Path) -> str:
    return "".join(_lines(path)).strip()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace")[:1_000_000].splitlines()
    except OSError:
        return []


__all__ = [
    "disk_free",
    "is_wsl",
    "nvidia_on_the_bus",
    "other_cards",
    "place",
    "read_cpu",
    "read_distribution",
    "read_gpus",
    "read_pc",
]
