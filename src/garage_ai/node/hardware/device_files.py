"""NVIDIA's device files: whether a container's user may open them, who is in no group of this PC.

The driver makes them for all (its README, NVreg_DeviceFileMode); openSUSE and Gentoo have it make
them for the group `video` alone.
"""

import stat
from pathlib import Path
from typing import Final

_NAMES: Final = ("nvidiactl", "nvidia-uvm", "nvidia[0-9]*")
_ANYBODY: Final = stat.S_IROTH | stat.S_IWOTH


def closed_device(root: Path = Path("/")) -> Path | None:
    """Give one that is not open to all; None where all that are there are."""
    found = (path for name in _NAMES for path in sorted((root / "dev").glob(name)))
    return next((path for path in found if _is_closed(path)), None)


def _is_closed(path: Path) -> bool:
    try:
        return path.stat().st_mode & _ANYBODY != _ANYBODY
    except OSError:
        return False


__all__ = ["closed_device"]
