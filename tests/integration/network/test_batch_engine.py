"""Batch and chat of two gateways on one real agent, in front of an engine that takes its time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest
from bench.mock_answers import text_of
from bench.mock_engine import MockEngine
from bench.mock_options import Options
from tests.integration.network.conftest import LIMITS, FakeBooks, a_network, until
from tests.integration.network.test_moves import read
from tests.integration.node.conftest import MakeAgent, external, make_agent
from tests.parts.credentials import NODE, REGION
from tests.parts.nats import NatsProcess

from garage_ai.network.authority import Authority
from garage_ai.network.dispatcher import Request
from garage_ai.network.models import EnrolledNode
from garage_ai.network.network import Network
from garage_ai.wire.frames import Priority
from garage_ai.wire.ids import GatewayId

pytestmark = pytest.mark.anyio

__all__ = ["make_agent"]

SLOTS = 2
STEP = 0.01
LONG = 120
"""Tokens of a batch answer: far more than are said before a chat is over."""


def asking(priority: Priority, tokens: int) -> Request:
    """Ask for so many words."""
    stream = priority == "chat"
    body: dict[str, object] = {"model": "mock", "messages": [{"role": "user", "content": "count"}]}
    body |= {"max_tokens": tokens, "stream": stream}
    encoded = msgspec.json.encode(body)
    return Request("chat", "mock", encoded, stream, include_usage=False, priority=priority)


@pytest.fixture
async def engine() -> AsyncIterator[MockEngine]:
    """An engine with two slots."""
    async with MockEngine(Options(slots=SLOTS, chunk_delay=STEP)) as engine:
        yield engine


@pytest.fixture
async def gateways(
    nats: NatsProcess, authority: Authority, make_agent: MakeAgent, engine: MockEngine
) -> AsyncIterator[tuple[Network, Network]]:
    """Two gateways that know the node."""
    books = FakeBooks({NODE: EnrolledNode(NODE, "mbr_1", "n", REGION, bare_allowed=True)})
    async with contextlib.AsyncExitStack() as stack:
        made = [
            await stack.enter_async_context(
                a_network([nats.tcp_url], authority, books, GatewayId(f"g{number}"))
            )
            for number in range(2)
        ]
        await make_agent(external(engine, SLOTS))
        await until(lambda: all(each.registry.pool("mock") is not None for each in made))
        yield made[0], made[1]


@pytest.mark.parametrize("chats", ["its own", "another's"])
async def test_a_chat_is_served_at_once_and_batch_loses_no_word(
    gateways: tuple[Network, Network], engine: MockEngine, chats: str
) -> None:
    """Whichever gateway it comes by: it waits for no batch answer, which is whole all the same.

    The engine never runs more than it has slots for, and nobody is held to have failed.
    """
    mine, others = gateways
    asks = [asyncio.create_task(mine.open(asking("batch", LONG))) for _ in range(2 * SLOTS)]
    await until(lambda: engine.state.running == SLOTS)
    by = mine if chats == "its own" else others
    replica = next(iter(by.registry.nodes[NODE].replicas.values()))
    await until(lambda: replica.gives_way)
    said = [await read(await by.open(asking("chat", 3))) for _ in range(2)]
    assert all(b"w2" in each for each in said)
    assert not any(ask.done() for ask in asks)
    async with asyncio.timeout(LIMITS.attempt.total):
        answers = await asyncio.gather(*asks)
    for answer in answers:
        whole = msgspec.json.decode(await read(answer))
        assert whole["choices"][0]["message"]["content"] == text_of(LONG)
        assert whole["usage"]["completion_tokens"] == LONG
    assert mine.dispatcher.preempted >= 1
    assert engine.state.cancelled == mine.dispatcher.preempted
    assert engine.state.peak_running == SLOTS
    assert all(answer.tries == 1 for answer in answers)
