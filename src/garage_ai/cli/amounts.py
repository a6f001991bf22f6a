"""Decimal numbers that are typed, in the whole units that the gateway counts in."""

from decimal import Decimal
from typing import Final

DIGITS: Final = 18
"""The longest amount that a gateway takes."""


def in_units(text: str, units: int) -> int:
    """Read a number as so many whole units for each one. Raises: ValueError."""
    try:
        exact = Decimal(text) * units
    except ArithmeticError as error:
        raise ValueError(text) from error
    if not exact.is_finite() or exact.adjusted() >= DIGITS or exact % 1:
        raise ValueError(text)
    return int(exact)


__all__ = ["DIGITS", "in_units"]
