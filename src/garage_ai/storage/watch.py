"""Looks for what other processes changed in SQL, whatever becomes of a look."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from garage_ai.storage.errors import StorageError

_log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 0.8
"""Between two looks: with the look itself, a change is known everywhere within a second."""

LEAST_SECONDS: Final = 0.2
"""Between two looks, however often somebody wants one at once."""

_CLOSE_SECONDS: Final = 5.0


class Watch:
    """Call `look` every so often, from `start` until `close`.

    While looks fail what was known goes on to hold: `failures` counts them, `failing` tells of the
    last one, and the log of the first in a row, as `NAME_not_refreshed`.
    """

    def __init__(
        self, look: Callable[[], Awaitable[None]], name: str, seconds: float = LOOK_SECONDS
    ) -> None:
        self.failures = 0
        self.failing = False
        self._look = look
        self._name = name
        self._seconds = seconds
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name=f"watch-{self._name}")

    def wake(self) -> None:
        """Look soon: something may have changed."""
        self._wanted.set()

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_CLOSE_SECONDS)

    async def _run(self) -> None:
        least = min(self._seconds, LEAST_SECONDS)
        while True:
            await asyncio.sleep(least)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds - least):
                    await self._wanted.wait()
            self._wanted.clear()
            await self._try()

    async def _try(self) -> None:
        try:
            await self._look()
        except Exception as error:  # a watch that died would never hear of a change again
            self.failures += 1
            if not self.failing:
                code = error.code if isinstance(error, StorageError) else type(error).__name__
                _log.warning(f"{self._name}_not_refreshed", code=code)
            self.failing = True
        else:
            self.failing = False


__all__ = ["LEAST_SECONDS", "LOOK_SECONDS", "Watch"]
