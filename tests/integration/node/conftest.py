"""An agent on a real NATS server, with the permissions of a node, and the gateway that calls it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from bench.mock_engine import MockEngine
from bench.mock_options import Options
from tests.parts.credentials import NODE, REGION, node_credentials
from tests.parts.job_caller import Caller
from tests.parts.nats import NatsProcess

from garage_ai.network.authority import Authority
from garage_ai.node.agent import Agent
from garage_ai.node.engines.external import ExternalEngine
from garage_ai.node.engines.port import Engine
from garage_ai.wire.connection import Connection, Listeners, connect

MakeMock = Callable[[Options], Awaitable[MockEngine]]
MakeAgent = Callable[..., Awaitable["Rig"]]


@dataclass
class Rig:
    """An agent, and what came to it for its owner."""

    agent: Agent
    link: Connection
    jwts: list[str]


@pytest.fixture
async def caller(nats: NatsProcess, authority: Authority) -> AsyncIterator[Caller]:
    """A gateway that hears the node."""
    caller = Caller(NODE)
    link = await connect(
        [nats.tcp_url],
        credentials=authority.gateway_credentials(caller.gateway),
        name="gateway",
        give_up_after=10,
    )
    await caller.start(link)
    yield caller
    await link.close()


@pytest.fixture
async def make_mock() -> AsyncIterator[MakeMock]:
    """Make engines that are gone at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(options: Options) -> MockEngine:
            return await stack.enter_async_context(MockEngine(options))

        yield make


@pytest.fixture
async def make_agent(nats: NatsProcess, authority: Authority) -> AsyncIterator[MakeAgent]:
    """Make agents that have the permissions of a node and are gone at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(
            engine: Engine, on_change: Callable[[], None] = lambda: None, url: str = nats.tcp_url
        ) -> Rig:
            rigs: list[Rig] = []
            jwts: list[str] = []
            link = Connection(
                [url],
                credentials=node_credentials(authority, NODE),
                name="node",
                listeners=Listeners(
                    on_connect=lambda _: rigs[0].agent.connected(),
                    on_disconnect=lambda _: rigs[0].agent.disconnected(),
                ),
            )
            stack.push_async_callback(link.close)
            agent = Agent(
                NODE,
                REGION,
                engine=engine,
                link=link,
                on_renewed=jwts.append,
                on_change=on_change,
            )
            rigs.append(Rig(agent, link, jwts))
            await engine.start()
            stack.push_async_callback(engine.stop)
            await agent.start()
            stack.push_async_callback(agent.stop, 0, _set())
            link.start()
            await link.wait_connected(10)
            return rigs[0]

        yield make


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@pytest.fixture
async def mock(make_mock: MakeMock) -> MockEngine:
    """An engine that answers at once."""
    return await make_mock(Options())


@pytest.fixture
async def rig(make_agent: MakeAgent, mock: MockEngine, caller: Caller) -> Rig:
    """An agent that serves the mock engine, and is known to the gateway."""
    rig = await make_agent(external(mock))
    await caller.ready()
    return rig


def external(mock: MockEngine, slots: int = 4) -> ExternalEngine:
    """Point an agent at a mock engine."""
    return ExternalEngine(
        mock.url.removesuffix("/v1"), mock.options.names, member="mbr_1", slots=slots
    )
