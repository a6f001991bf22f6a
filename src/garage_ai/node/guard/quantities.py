"""Times and amounts as people write them: 2h, 1h30m, 50GB. Pure."""

import re
from typing import Final

from garage_ai.node.errors import NotPossible

_DURATION: Final = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?")
_SIZE: Final = re.compile(r"(\d{1,9}(?:[.,]\d{1,3})?)\s*(MB|GB|TB|MiB|GiB)", re.IGNORECASE)
_UNITS: Final = {"mb": 10**6, "gb": 10**9, "tb": 10**12, "mib": 2**20, "gib": 2**30}
_SECONDS: Final = (86_400, 3600, 60, 1)


def duration(text: str) -> float:
    """Read a time such as `2h` or `1h30m`, in seconds. Raises: NotPossible."""
    found = _DURATION.fullmatch(text.strip().lower())
    parts = found.groups() if found else ()
    seconds = sum(int(part) * each for part, each in zip(parts, _SECONDS, strict=False) if part)
    if not seconds:
        raise NotPossible(
            "{text!r} is not a time; write it as 2h, 90m or 1h30m.",
            text=text,
        )
    return float(seconds)


def size(text: str) -> int:
    """Read an amount of data such as `50GB`, in bytes. Raises: NotPossible."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise NotPossible(
            "{text!r} is not an amount of data; write it as 500MB or 50GB.",
            text=text,
        )
    return int(float(found[1].replace(",", ".")) * _UNITS[found[2].lower()])


def shown_size(amount: float) -> str:
    """Write an amount of data for people."""
    if amount >= 10**9:
        return f"{amount / 10**9:.1f} GB"
    return f"{amount / 10**6:.0f} MB"


def shown_duration(seconds: float) -> str:
    """Write a time as it could be typed."""
    left = int(seconds)
    words = ""
    for unit, each in zip("dhms", _SECONDS, strict=True):
        count, left = divmod(left, each)
        words += f"{count}{unit}" if count else ""
    return words or "0s"


__all__ = ["duration", "shown_duration", "shown_size", "size"]
