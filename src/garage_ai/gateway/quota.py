"""How often somebody may come: counted in memory, so that refusing costs nothing."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MAX_NAMES: Final = 4096


class Quota:
    """So many times in each window, by name; the longest unseen name is forgotten."""

    def __init__(
        self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def take(self, name: str) -> float | None:
        """Count once more; give the seconds to wait when that is too often, else None."""
        now = self._clock()
        began, count = self._seen.pop(name, (now, 0))
        if now - began >= self._seconds:
            began, count = now, 0
        self._seen[name] = (began, count + 1)
        if len(self._seen) > MAX_NAMES:
            self._seen.popitem(last=False)
        return began + self._seconds - now if count >= self._most else None


__all__ = ["Quota"]
