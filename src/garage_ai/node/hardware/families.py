"""Processes and what came of them."""

from collections import defaultdict
from collections.abc import Iterable

import psutil


def families(pids: Iterable[int]) -> frozenset[int]:
    """Give those of the processes that are there, and all that came of them, in one look."""
    below: dict[int, list[int]] = defaultdict(list)
    running = set[int]()
    for each in psutil.process_iter(["ppid"]):
        running.add(each.pid)
        below[each.info["ppid"]].append(each.pid)
    found, left = set[int](), [pid for pid in pids if pid in running]
    while left:
        pid = left.pop()
        if pid not in found:
            found.add(pid)
            left += below[pid]
    return frozenset(found)


__all__ = ["families"]
