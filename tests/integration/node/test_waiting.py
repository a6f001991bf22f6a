"""An agent that starts while something else holds the memory it needs."""

import asyncio
import os
from pathlib import Path
from typing import cast

import pytest
from tests.parts.credentials import NODE, REGION
from tests.parts.job_caller import until

from garage_ai import __version__
from garage_ai.cli.node_status import why
from garage_ai.cli.node_trial import verdict
from garage_ai.node.control import SOCKET, Op, ask_agent, glance
from garage_ai.node.engines.port import Engine
from garage_ai.node.errors import NoAgent, NoRoom, NotPossible
from garage_ai.node.events import Event, State
from garage_ai.node.fitting.words import lacking
from garage_ai.node.folder import NodeFolder, Record
from garage_ai.node.waiting import Waiting

pytestmark = pytest.mark.anyio

GIB = 1 << 30
ENGINE = cast("Engine", object())
REASON = lacking(8 * GIB, 2 * GIB)


class Pc:
    """A node's folder, and memory that somebody else `holds`."""

    def __init__(self, path: Path) -> None:
        self.folder = NodeFolder(path)
        self.folder.prepare()
        self.holds = True
        self.plans = 0
        self.told: list[Event] = []
        record = Record(
            node=NODE,
            member="mbr_1",
            name="rig",
            region=REGION,
            gateway="http://127.0.0.1:1",
            urls=(),
        )
        self.waiting = Waiting(self.folder, record, self.told.append, first_wait=0.01)

    async def make(self) -> Engine:
        self.plans += 1
        if self.holds:
            raise NoRoom("{name} does not fit", name="m", reason=REASON)
        return ENGINE

    async def answers(self) -> None:
        """Wait until the agent can be asked."""
        await until((self.folder.run / SOCKET).exists, 30)

    async def ask(self, op: Op) -> str:
        """Ask the agent for something, and give why it does not serve."""
        return why(await asyncio.to_thread(ask_agent, self.folder.run, op))


@pytest.fixture
def pc(tmp_path: Path) -> Pc:
    return Pc(tmp_path / "node")


async def test_it_stays_up_says_why_and_serves_once_there_is_room(pc: Pc) -> None:
    """`gai node status` answers meanwhile, and its owner is told once."""
    serving = asyncio.create_task(pc.waiting.engine(pc.make))
    await pc.answers()
    assert await pc.ask("status") == "waiting for memory: 8.6 GB needed, 2.1 GB free"
    await until(lambda: pc.plans >= 3, 30)
    signs = await asyncio.to_thread(glance, pc.folder.run)
    assert verdict(signs, __version__, os.getpid(), None) == "", "a good update is taken back"
    pc.holds = False
    assert await asyncio.wait_for(serving, 30) is ENGINE
    assert pc.told == [State("joining", REASON, ())]
    assert glance(pc.folder.run).pid == 0


@pytest.mark.parametrize("op", ["stop", "restart"])
async def test_its_owner_ends_it_while_it_waits(pc: Pc, op: Op) -> None:
    """Neither waits for the next plan."""
    serving = asyncio.create_task(pc.waiting.engine(pc.make))
    await pc.answers()
    await pc.ask(op)
    assert await asyncio.wait_for(serving, 30) is None
    assert pc.waiting.restart_asked == (op == "restart")


@pytest.mark.parametrize("op", ["stop", "restart"])
async def test_its_owner_ends_it_while_an_engine_is_made(pc: Pc, op: Op) -> None:
    """A plan may fetch and ask for minutes; what was said meanwhile is not forgotten over it."""
    made, planned = asyncio.Event(), asyncio.Event()

    async def make() -> Engine:
        if not pc.plans:
            return await pc.make()
        planned.set()
        await made.wait()
        return ENGINE

    serving = asyncio.create_task(pc.waiting.engine(make))
    await asyncio.wait_for(planned.wait(), 30)
    await pc.ask(op)
    made.set()
    assert await asyncio.wait_for(serving, 30) is None
    assert pc.waiting.restart_asked == (op == "restart")


async def test_a_pause_given_while_it_waits_is_kept(pc: Pc) -> None:
    """What only a running agent could do is refused with the reason."""
    serving = asyncio.create_task(pc.waiting.engine(pc.make))
    await pc.answers()
    await pc.ask("pause")
    assert pc.folder.paused
    await pc.ask("resume")
    assert not pc.folder.paused
    with pytest.raises(NoAgent, match="waiting for memory"):
        await pc.ask("rotate")
    await pc.ask("stop")
    assert await asyncio.wait_for(serving, 30) is None


async def test_what_can_never_fit_is_not_waited_for(pc: Pc) -> None:
    """It ends as it did, with what its owner can do."""

    async def make() -> Engine:
        raise NoRoom("{name} does not fit", name="m", reason="")

    with pytest.raises(NotPossible, match="m does not fit"):
        await pc.waiting.engine(make)
    assert pc.told == []
