"""Three minutes in all, shared out among the parts of a benchmark. Pure."""

from typing import Final

TOTAL: Final = 170.0
"""Seconds, from the start of the engine; ten are left for what nobody planned."""

LINE: Final = 25.0
"""Of these for the line to the gateway; on most lines a fraction of it."""

LONGEST: Final = 45.0
SHORTEST: Final = 12.0
"""A level gets so much even after an engine that took its time to load: less measures nothing."""


def level_seconds(spent: float, levels: int) -> float:
    """Give the longest that the next of so many levels may take, after so many seconds."""
    left = TOTAL - LINE - spent
    return max(SHORTEST, min(LONGEST, left / levels))


__all__ = ["LINE", "LONGEST", "SHORTEST", "TOTAL", "level_seconds"]
