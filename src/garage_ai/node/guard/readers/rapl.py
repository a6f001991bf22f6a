"""What the processor draws, by its own counters (RAPL), where the kernel lets an owner read them.

See the kernel's documentation of power capping: `energy_uj` of each package counts microjoules and
begins anew at `max_energy_range_uj`. Since CVE-2020-8694 most systems show it to root alone.
"""

from pathlib import Path
from typing import Final

POWERCAP: Final = Path("/sys/class/powercap")
LONGEST: Final = 30.0
"""Seconds between two readings beyond which a counter may have gone round more than once."""


class Rapl:
    """The processor's packages together."""

    def __init__(self, root: Path = POWERCAP) -> None:
        self._root = root
        self._before: tuple[float, dict[Path, int]] | None = None

    def watts(self, now: float) -> float | None:
        """Give the mean draw since the last look, at most 30 s ago; None where that is not told."""
        counts = self._counts()
        before, self._before = self._before, (now, counts)
        if before is None or not counts or before[1].keys() != counts.keys():
            return None
        seconds = now - before[0]
        if not 0 < seconds <= LONGEST:
            return None
        joules = sum(self._passed(zone, before[1][zone], count) for zone, count in counts.items())
        return joules / 1e6 / seconds

    def _counts(self) -> dict[Path, int]:
        zones = sorted(self._root.glob("intel-rapl:*"))
        try:
            # Parts of a package are in its count already, and so is `psys` in part.
            packages = [each for each in zones if _text(each / "name").startswith("package")]
            return {each: int(_text(each / "energy_uj")) for each in packages}
        except (OSError, ValueError):
            return {}

    def _passed(self, zone: Path, before: int, now: int) -> int:
        if now >= before:
            return now - before
        try:
            return now - before + int(_text(zone / "max_energy_range_uj"))
        except (OSError, ValueError):
            return now


def _text(path: Path) -> str:
    return path.read_text("ascii", "replace").strip()


__all__ = ["POWERCAP", "Rapl"]
