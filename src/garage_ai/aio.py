"""What the asyncio of an older Python does not do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def cleanup_timeout(seconds: float) -> AsyncIterator[None]:
    """Bound a block that may run while its task, which was cancelled, clears up.

    As `asyncio.timeout`, which before 3.11.3 (Debian 12 has 3.11.2) tells such a task that it was
    cancelled once more, and not that the time is over: what was to be done then was left undone.
    Raises: TimeoutError.
    """
    task = asyncio.current_task()
    cancelled = task.cancelling() if task is not None else 0
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except asyncio.CancelledError as error:
        if limit.expired() and task is not None and task.cancelling() <= cancelled:
            raise TimeoutError from error
        raise


__all__ = ["cleanup_timeout"]
