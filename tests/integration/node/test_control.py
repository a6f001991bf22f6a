"""The owner's word to an agent that runs, over its socket."""

import asyncio
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from garage_ai.node.control import Ask, ControlServer, ask_agent
from garage_ai.node.errors import NoAgent
from garage_ai.node.folder import LOCK, NodeFolder
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


def test_an_agent_that_makes_ready_is_not_told_to_be_started(tmp_path: Path) -> None:
    """It holds the folder and hears nobody yet: a model is fetched for half an hour."""
    folder = NodeFolder(tmp_path)
    hold = (
        "import sys; from pathlib import Path; from garage_ai.node.folder import NodeFolder\n"
        "with NodeFolder(Path(sys.argv[1])).lock(): print('held', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", hold, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == "held\n"
        with pytest.raises(NoAgent, match=rf"pid {agent.pid}\) does not answer yet"):
            ask_agent(folder.run, "status")
    assert (tmp_path / LOCK).read_text() == f"{agent.pid}\n"
    with pytest.raises(NoAgent, match="No agent is running"):
        ask_agent(folder.run, "status")


def test_a_number_that_is_anothers_by_now_is_no_agent(tmp_path: Path) -> None:
    """Processes take the numbers of those that ended."""
    (tmp_path / LOCK).write_text("1\n")
    with pytest.raises(NoAgent, match="No agent is running"):
        ask_agent(NodeFolder(tmp_path).run, "status")
