"""What a rig makes of gangs that have failed. Pure."""

from typing import Final

_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 60.0


def wait_after(failures: int, chance: float) -> float:
    """Give the seconds before a leader tries again: doubling, bounded, half of it by chance."""
    doublings = min(max(failures, 1) - 1, 10)
    return min(_LONGEST_WAIT, _FIRST_WAIT * 2.0**doublings) * (0.5 + chance / 2)


__all__ = ["wait_after"]
