"""Items of batches on a real agent, in front of an engine that takes its time, beside chats."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from bench.mock_answers import text_of
from bench.mock_engine import MockEngine
from bench.mock_options import Options
from sqlalchemy import select
from tests.integration.batch.world import HOLD, PAYER, World
from tests.integration.network.conftest import FakeBooks, until
from tests.integration.network.test_batch_engine import asking
from tests.integration.network.test_moves import read
from tests.integration.node.conftest import MakeAgent, external, make_agent
from tests.parts.batches import counts, states
from tests.parts.credentials import NODE, REGION

from garage_ai.ledger import GAI
from garage_ai.network.models import EnrolledNode
from garage_ai.network.network import Network
from garage_ai.storage.tables import batch_items
from garage_ai.storage.usage import usage_list
from garage_ai.wire.whole import Whole

pytestmark = pytest.mark.anyio

__all__ = ["make_agent"]

LONG = 120
"""Tokens of an item's answer: far more than are said before a chat is over."""
ITEMS, CHATS = 4, 3


@pytest.fixture
async def engine(
    network: Network, books: FakeBooks, make_agent: MakeAgent
) -> AsyncIterator[MockEngine]:
    """An engine with one slot, that a node of the network lends."""
    books.enrolled[NODE] = EnrolledNode(NODE, "mbr_1", "n", REGION, bare_allowed=True)
    network.enrol(books.enrolled[NODE])
    async with MockEngine(Options(slots=1, chunk_delay=0.01)) as engine:
        await make_agent(external(engine, 1))
        await until(lambda: network.registry.pool("mock") is not None)
        yield engine


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What has come of items' answers, event by event."""
    events: list[object] = []
    really = Whole.add

    def add(whole: Whole, event: dict[str, Any]) -> None:
        really(whole, event)
        events.append(event)

    monkeypatch.setattr(Whole, "add", add)
    return events


async def test_an_item_that_gives_way_is_one_line_and_one_bill(
    world: World, network: Network, engine: MockEngine, heard: list[object]
) -> None:
    """Chats take its slot in the middle of its answer, which goes on and is whole all the same.

    That is no attempt and no other lease of it; it costs what one costs that nobody disturbed.
    """
    prompts = ["count"] * ITEMS
    await world.submit("batch_1", prompts, model="mock", tokens=LONG)
    world.work()
    for chats in range(1, CHATS + 1):
        heard.clear()
        await until(lambda: len(heard) > 5)
        assert b"w2" in await read(await network.open(asking("chat", 3)))
        assert network.dispatcher.preempted == chats
    lines = await world.over("batch_1")
    assert await states(world.storage, "batch_1") == dict.fromkeys(range(1, ITEMS + 1), "done")
    assert await counts(world.storage, "batch_1") == (ITEMS, ITEMS, 0)
    for line in lines.values():
        response = line["response"]
        assert isinstance(response, dict)
        assert response["body"]["choices"][0]["message"]["content"] == text_of(LONG)
        assert response["body"]["usage"]["completion_tokens"] == LONG
    tried = select(batch_items.c.attempts, batch_items.c.epoch)
    async with world.storage.read() as connection:
        assert set(await connection.execute(tried)) == {(0, 1)}
    used = (await usage_list(world.storage)).records
    assert {(each.outcome, each.attempts) for each in used} == {("ok", 1)}
    gave_way = [part for each in used for part in each.parts if part.outcome == "preempted"]
    assert len(gave_way) == CHATS
    records, charged, paid = await world.sums()
    assert (records, charged) == (ITEMS, paid)
    assert {each.charge for each in used} == {paid // ITEMS}
    balance = await world.ledger.balance(PAYER)
    assert (balance.amount, balance.reserved) == (GAI - paid, ITEMS * HOLD - paid)
