"""NVIDIA's device for CUDA's memory: after a start of the PC it is not there until it is asked for.

A program that uses CUDA asks for it by itself, in a container without root it may not, and a
description for containers that was written before leaves it out.
"""

import platform
from pathlib import Path
from typing import Final

from garage_ai.node.hardware.commands import Run, run
from garage_ai.node.hardware.pc import is_wsl

DEVICE: Final = "/dev/nvidia-uvm"

_MAKE: Final = ("nvidia-modprobe", "-u", "-c=0")
"""The driver's own program, which is root whoever runs it (nvidia-modprobe(1))."""


def lacks_uvm(root: Path = Path("/")) -> bool:
    """Tell whether NVIDIA's driver runs here without it; inside WSL there is none to be had."""
    if is_wsl(platform.release(), root):
        return False
    there = (root / DEVICE.lstrip("/")).exists()
    return not there and (root / "proc/driver/nvidia").exists()


def have_uvm(root: Path = Path("/"), ask: Run = run) -> None:
    """Have it made where it lacks; what hinders that, the engine or the doctor will say."""
    if lacks_uvm(root):
        ask(_MAKE)


__all__ = ["DEVICE", "have_uvm", "lacks_uvm"]
