"""Small real processes to supervise, and patience with a deadline."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from garage_ai.local.folders import Folders
from garage_ai.local.supervision import Policy
from garage_ai.local.supervisor import Change, Plan, Supervisor

QUICK = Policy(
    first_delay=0.02, max_delay=0.2, good_after=5.0, start_limit=10.0, stop_limit=5.0, worry_after=3
)


class Ward:
    """One supervised Python program, and what its supervisor told."""

    def __init__(self, folders: Folders, code: str, policy: Policy = QUICK) -> None:
        self.changes: list[Change] = []
        self.is_ready = True
        self.argv = [sys.executable, "-I", "-S", "-c", code]
        self.asked: list[float] = []
        plan = Plan("child", self._argv, self._ready, {"PATH": "/usr/bin:/bin"}, policy)
        self.supervisor = Supervisor(plan, folders, self.changes.append)

    async def _argv(self) -> Sequence[str]:
        self.asked.append(asyncio.get_running_loop().time())
        return self.argv

    async def _ready(self) -> bool:
        return self.is_ready

    def kinds(self) -> list[str]:
        return [change.kind for change in self.changes]


async def eventually(true: Callable[[], bool], limit: float = 30.0) -> None:
    """Wait until something is true, polling, at most `limit` seconds."""
    async with asyncio.timeout(limit):
        while True:
            if true():
                return
            await asyncio.sleep(0.01)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Give empty folders for logs and records."""
    made = Folders(tmp_path)
    made.logs.mkdir()
    made.run.mkdir()
    return made


MakeWard = Callable[..., Ward]


@pytest.fixture
async def make_ward(folders: Folders) -> AsyncIterator[MakeWard]:
    """Make wards whose children are ended with the test."""
    made: list[Ward] = []

    def make(code: str, policy: Policy = QUICK) -> Ward:
        made.append(Ward(folders, code, policy))
        return made[-1]

    yield make
    ends: list[Awaitable[None]] = [ward.supervisor.stop(0.5) for ward in made]
    await asyncio.gather(*ends)
