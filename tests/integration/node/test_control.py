"""The owner's word to an agent that runs, over its socket."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from garage_ai.node.control import Ask, ControlServer, ask_agent
from garage_ai.node.errors import NoAgent
from garage_ai.node.status import Status

pytestmark = pytest.mark.anyio


async def test_what_the_disk_refuses_is_told(tmp_path: Path) -> None:
    """In its own words, and not as if there were no agent."""

    def act(_: Ask) -> Status:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    server = ControlServer(tmp_path, act)
    await server.start()
    try:
        with pytest.raises(NoAgent, match="No space left on device"):
            await asyncio.to_thread(ask_agent, tmp_path, "resume")
    finally:
        await server.stop()
