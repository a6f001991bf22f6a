"""What the processor draws, by its own counters (RAPL), where the kernel lets an owner read them.

See the kernel's documentation of power capping: `energy_uj` of each package counts microjoules and
begins anew at `max_energy_range_uj`. Since CVE-2020-8694 most systems show it to root alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

POWERCAP: Final = Path("/sys/class/powercap")
LONGEST: Final = 30.0
"""Seconds between two readings beyond which a counter may have gone round more than once."""
_WRAPS_AT: Final = "max_energy_range_uj"
_MICRO: Final = 1e-6


class Counter(NamedTuple):
    """A processor package's energy so far, and where it begins anew; in microjoules."""

    energy: int
    wraps_at: int


def read_counters(powercap: Path = POWERCAP) -> dict[str, Counter]:
    """Read the counters of all packages; empty where there are none, or one is not for us.

    Parts of a package are in its count already, and so is `psys` in part.
    """
    zones = sorted(powercap.glob("intel-rapl:*"))  # AMD's, too
    try:
        return {
            zone.name: Counter(int(_text(zone / "energy_uj")), int(_text(zone / _WRAPS_AT)))
            for zone in zones
            if _text(zone / "name").startswith("package")
        }
    except (OSError, ValueError):
        return {}


def joules(before: Mapping[str, Counter], after: Mapping[str, Counter]) -> float | None:
    """Give the energy between two readings, None where there is no counter in both. Pure.

    A counter that has gone back has begun anew, once: it takes minutes at full load to come round.
    """
    used = []
    for name, then in before.items():
        now = after.get(name)
        if now is not None:
            step = now.energy - then.energy
            used.append(step if step >= 0 else step + then.wraps_at)
    return sum(used) * _MICRO if used else None


class Rapl:
    """The processor's packages together."""

    def __init__(self, root: Path = POWERCAP) -> None:
        self._root = root
        self._before: tuple[float, dict[str, Counter]] | None = None

    def watts(self, now: float) -> float | None:
        """Give the mean draw since the last look, at most 30 s ago; None where that is not told."""
        counts = read_counters(self._root)
        before, self._before = self._before, (now, counts)
        if before is None or before[1].keys() != counts.keys():
            return None
        seconds = now - before[0]
        used = joules(before[1], counts)
        return used / seconds if used is not None and 0 < seconds <= LONGEST else None


def _text(path: Path) -> str:
    return path.read_text("ascii", "replace").strip()


__all__ = ["POWERCAP", "Counter", "Rapl", "joules", "read_counters"]
