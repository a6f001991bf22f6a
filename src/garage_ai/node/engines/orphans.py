"""Engines that outlived their agent, found by the mark in their environment."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Final

import psutil
import structlog

_log = structlog.get_logger(__name__)

GONE_SECONDS: Final = 5.0


async def end_orphans(mark: str, run: Path) -> int:
    """Kill all processes of this user whose environment has `mark`=`run`; give their number.

    To be called by the agent that holds the folder, before it starts an engine of its own.
    """
    found = await asyncio.to_thread(_marked, f"{mark}={run}".encode())
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)
    if found:
        _log.warning("orphans_ended", count=len(found))
        await asyncio.to_thread(psutil.wait_procs, found, GONE_SECONDS)
    return len(found)


def _marked(words: bytes) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        # Other users' environments cannot be read, and are none of our business.
        with contextlib.suppress(OSError, psutil.Error):
            environment = Path(f"/proc/{process.pid}/environ").read_bytes()
            if words in environment.split(b"\0") and process.pid != os.getpid():
                found.append(process)
    return found


__all__ = ["end_orphans"]
