"""An agent that gives its engine to one job: on real NATS, with a real engine behind it."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from bench.mock_engine import MockEngine
from bench.mock_options import Options
from tests.integration.node.conftest import MakeAgent, MakeMock, Rig
from tests.parts.job_caller import Caller, until

from garage_ai.node.engine_life import EngineLife
from garage_ai.node.engines.external import ExternalEngine
from garage_ai.wire.frames import End, Fail, Refused
from garage_ai.wire.messages import Beat, Dedicate, Undedicate

pytestmark = pytest.mark.anyio

CHAT = json.dumps({"model": "mock", "messages": [{"role": "user", "content": "hej"}]}).encode()


class Made(ExternalEngine):
    """An engine that is made for somebody; what is told of its life is kept."""

    dedicates = True

    def __init__(self, mock: MockEngine) -> None:
        names = mock.options.names
        super().__init__(mock.url.removesuffix("/v1"), names, member="mbr_1", slots=2)
        self.life: list[str] = []

    def make_for(self, job: str) -> None:
        self.life.append(f"made for {job or 'everybody'}")

    async def release(self) -> None:
        self.life.append("gone")
        await self.stop()


class Node:
    """An agent, and the one that starts and releases its engine."""

    def __init__(self, rig: Rig, engine: Made, mock: MockEngine, caller: Caller) -> None:
        self.agent = rig.agent
        self.engine = engine
        self.mock = mock
        self.caller = caller
        self.life = EngineLife(engine, rig.agent)

    def ask(self, job: str, seconds: float = 30.0) -> None:
        digest = self.agent.core.offers[0].digest
        self.caller.control(Dedicate(job, digest, seconds))

    async def serves(self, job: str) -> Beat:
        """Wait until it serves a job alone, or everybody."""
        state = "dedicated" if job else "ready"

        def met(beat: Beat) -> bool:
            return (beat.state, beat.job, beat.models[0].engine) == (state, job, "ready")

        return await self.caller.beat(met)


@pytest.fixture
async def node(make_agent: MakeAgent, make_mock: MakeMock, caller: Caller) -> AsyncIterator[Node]:
    """A node that serves everybody and would serve one job."""
    mock = await make_mock(Options(slots=2))
    engine = Made(mock)
    lives: list[EngineLife] = []

    def changed() -> None:
        for life in lives:
            life.look()

    rig = await make_agent(engine, changed)
    made = Node(rig, engine, mock, caller)
    lives.append(made.life)
    made.life.runs = True
    made.life.allow(True)
    task = asyncio.create_task(made.life.run())
    await made.serves("")
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_one_job_has_the_engine_alone(node: Node) -> None:
    """A new one is made for it and again after it; in between everybody else is refused."""
    caller = node.caller
    node.ask("batch_1")
    await node.serves("batch_1")
    assert node.engine.life == ["gone", "made for batch_1"]
    assert (await caller.call("a1", CHAT).over()).last == Refused("dedicated")
    assert (await caller.call("a2", CHAT, job="batch_2").over()).last == Refused("dedicated")
    assert isinstance((await caller.call("a3", CHAT, job="batch_1").over()).last, End)
    caller.control(Undedicate("batch_1"))
    await node.serves("")
    assert node.engine.life[2:] == ["gone", "made for everybody"]
    assert (await caller.call("a4", CHAT, job="batch_1").over()).last == Refused("dedicated")
    assert isinstance((await caller.call("a5", CHAT).over()).last, End)


async def test_what_runs_ends_before_the_engine_does(node: Node) -> None:
    """A chat under way is answered; none of the job's comes to its engine meanwhile."""
    node.mock.options = Options(slots=2, first_byte_delay=4.0)
    chat = node.caller.call("a1", CHAT)
    await chat.until(lambda call: call.accepted)
    node.ask("batch_1")
    await node.caller.beat(lambda beat: beat.job == "batch_1")
    early = await node.caller.call("a2", CHAT, job="batch_1").over()
    assert isinstance(early.last, Refused)
    assert early.last.code == "loading"
    assert isinstance((await chat.over()).last, End)
    await node.serves("batch_1")


async def test_a_gateway_that_dies_gives_the_node_back(node: Node) -> None:
    """Nobody asks again, so it takes itself back."""
    node.ask("batch_1", seconds=2.0)
    await until(lambda: len(node.engine.life) == 4)
    await node.serves("")
    assert node.engine.life == ["gone", "made for batch_1", "gone", "made for everybody"]


async def test_the_guard_has_the_last_word(node: Node) -> None:
    """A game ends the job on it at once; afterwards the node is everybody's."""
    node.mock.options = Options(slots=2, first_byte_delay=30.0)
    node.ask("batch_1")
    await node.serves("batch_1")
    item = node.caller.call("a1", CHAT, job="batch_1")
    await item.until(lambda call: call.accepted)
    node.agent.core.hold("paused", "its owner needs the PC")
    node.life.may_run = False
    node.life.look()
    assert (await item.over()).last == Fail("yielded")
    await until(lambda: node.engine.life[-1] == "gone")
    assert node.agent.core.dedication.job == ""
    node.agent.core.unhold()
    node.life.may_run = True
    node.life.look()
    node.agent.look()
    await node.serves("")


async def test_who_is_not_lent_it_does_not_get_it(node: Node) -> None:
    """By the owner's share, by his leave, and for a model that is not here."""
    node.agent.core.share = "own"
    node.ask("batch_1")
    assert (await node.caller.call("a0", CHAT).over()).last == Refused("not_shared")
    node.agent.core.share = "all"
    node.caller.control(Dedicate("batch_1", "sha256:" + "f" * 64, 30.0))
    node.life.allow(False)
    node.ask("batch_1")
    assert isinstance((await node.caller.call("a1", CHAT).over()).last, End)
    assert node.engine.life == []
