"""One process at a time: a file lock that the system releases when its holder dies."""

import asyncio
import fcntl
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from garage_ai.catalog.errors import StoreBusy

_POLL_S = (0.05, 0.25)
_JITTER = random.SystemRandom()


@asynccontextmanager
async def file_lock(path: Path, wait_s: float, waiting: Callable[[], None]) -> AsyncIterator[None]:
    """Hold the lock at `path`; `waiting` is called at each look while another one holds it.

    Raises StoreBusy after `wait_s` seconds. The file stays: removing it would let two in.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + wait_s
        while not _try_lock(descriptor):
            waiting()
            if time.monotonic() >= deadline:
                raise StoreBusy(f"another process has held {path} for {wait_s:.0f} s")
            await asyncio.sleep(_JITTER.uniform(*_POLL_S))
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
