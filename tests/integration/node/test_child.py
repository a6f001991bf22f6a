"""An engine's process is ended whole, whenever its start is broken off."""

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from garage_ai.node.engines.child import Child
from garage_ai.node.logs import BoundedLog

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

LEAVES_ONE_BEHIND = "exec 3<&0; (read -r _ <&3) & exec 3<&-; wait"
"""It starts a process that holds its pipes, and does not end it when it is told to end itself."""


@pytest.mark.parametrize("turns", range(8))
async def test_a_start_broken_off_at_any_moment_ends_all_of_it(tmp_path: Path, turns: int) -> None:
    """Also what it has started by then, which goes when our end of its stdin does."""
    log = BoundedLog(tmp_path / "log")
    argv = ("/bin/sh", "-c", LEAVES_ONE_BEHIND)
    starting = asyncio.create_task(Child.start(argv, log, tmp_path, hold_stdin=True))
    for _ in range(turns):
        await asyncio.sleep(0)
    time.sleep(0.1)  # noqa: ASYNC251  # the loop stands still, and the shell goes on
    starting.cancel()
    async with asyncio.timeout(20):
        with contextlib.suppress(asyncio.CancelledError):
            await (await starting).stop()
    log.close()
