"""What is asked of the books beside requests: bounded in number and time, each kind for itself."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Mapping
from typing import Final, Literal

import structlog

_log = structlog.get_logger(__name__)

BOOKS_SECONDS: Final = 5.0

Kind = Literal["compare", "renew", "claim", "look_up"]

MOST: Final[Mapping[Kind, int]] = {"compare": 1, "renew": 64, "claim": 64, "look_up": 128}
"""Under way at once; more are dropped, since each comes again with a beat or with time.

No kind takes another's places: nodes that are not known or refused come by the thousand.
"""


class Errands:
    """Those under way, and a count of those that were dropped."""

    def __init__(self) -> None:
        self._under_way: dict[Kind, set[asyncio.Task[None]]] = {kind: set() for kind in MOST}
        self._dropped: Counter[str] = Counter()

    def begin(self, kind: Kind, work: Coroutine[object, object, None]) -> bool:
        """Do something that waits for the books; False: dropped."""
        tasks = self._under_way[kind]
        if len(tasks) >= MOST[kind]:
            work.close()
            self._dropped[kind] += 1
            return False
        task = asyncio.create_task(_bounded(work))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return True

    def log_dropped(self) -> None:
        """Say once how many were dropped since it was said last."""
        if self._dropped:
            _log.warning("errands_dropped", **self._dropped)
            self._dropped.clear()

    async def close(self) -> None:
        """Break off what is under way."""
        tasks = [task for kind in self._under_way.values() for task in kind]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1)


async def _bounded(work: Coroutine[object, object, None]) -> None:
    try:
        async with asyncio.timeout(BOOKS_SECONDS):
            await work
    except Exception as error:
        _log.warning("errand_failed", error=type(error).__name__, detail=str(error)[:200])


__all__ = ["BOOKS_SECONDS", "MOST", "Errands", "Kind"]
