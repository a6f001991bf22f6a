"""Which subordinate ids are free to be given to a user (subuid(5), subgid(5))."""

from itertools import chain
from pathlib import Path
from typing import Final

LEAST: Final = 100_000
"""The first id that useradd gives away (login.defs(5), SUB_UID_MIN)."""

COUNT: Final = 65_536
"""What useradd gives to each user (SUB_UID_COUNT)."""

_MOST: Final = (1 << 32) - 2
"""Ids end below it: the last is no id, and the one before it stays out of it as well."""

_MOST_CHARACTERS: Final = 4 * 1024 * 1024


def free_ids(root: Path = Path("/")) -> str:
    """Give a range of ids that nobody on this PC has, as usermod takes it."""
    return free_range(*(_text(root / "etc" / name) for name in ("subuid", "subgid")))


def free_range(*files: str) -> str:
    """Give a range that overlaps none of those in these files: above them all, if there is room.

    What is given to a user whose range is shared with another's lets each of the two at what the
    other's containers keep. `FIRST-LAST` where all ids are taken, which usermod refuses.
    """
    taken = list(chain.from_iterable(map(_ranges, files)))
    starts = {LEAST, *(max(LEAST, -(-each.stop // COUNT) * COUNT) for each in taken)}
    for start in sorted(starts, reverse=True):
        end = start + COUNT
        if end <= _MOST and all(end <= each.start or each.stop <= start for each in taken):
            return f"{start}-{end - 1}"
    return "FIRST-LAST"


def _ranges(text: str) -> list[range]:
    """Read whose-ever ranges; lines that are none are passed over, as by shadow's own tools."""
    found = []
    for line in text.splitlines():
        _, _, rest = line.strip().partition(":")
        start, _, count = rest.partition(":")
        if start.isdecimal() and count.isdecimal():
            found.append(range(int(start), int(start) + int(count)))
    return [each for each in found if each]


def _text(path: Path) -> str:
    try:
        with path.open(errors="replace") as file:
            return file.read(_MOST_CHARACTERS)
    except OSError:
        return ""


__all__ = ["COUNT", "LEAST", "free_ids", "free_range"]
