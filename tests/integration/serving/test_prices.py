"""A price that changes while a request runs does not change its bill."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs
from tests.integration.network.conftest import SMALL, MakeNode, until
from tests.integration.serving.test_billing import (
    PRICE,
    Books,
    Written,
    economy,
    owners,
    records,
)
from tests.integration.serving.test_service import call, go_on, read
from tests.parts.scripted_node import DONE, ROLE, STOP, Job, event

from garage_ai.ledger import NanoGai
from garage_ai.ledger.charges import Price
from garage_ai.ledger.prices import ANY_MODEL, NOTICE, PriceList
from garage_ai.wire.frames import Data, End

__all__ = ["economy", "owners", "records"]

pytestmark = pytest.mark.anyio

USED = {"prompt_tokens": 3, "completion_tokens": 2}
BEGUN = ROLE + event("a")
ENDED = event("b") + STOP + event("", usage=USED) + DONE
TENFOLD = Price(NanoGai(10 * PRICE.prompt), NanoGai(10 * PRICE.completion))


class Clock:
    """The time of the price list."""

    def __init__(self) -> None:
        self.now = datetime(2026, 12, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def prices(economy: Books, clock: Clock) -> AsyncIterator[PriceList]:
    """The real list, by which the books bill."""
    derived = [(ANY_MODEL, PRICE, "any other model")]
    opened = await PriceList.open(economy.storage, derived, clock=clock)
    economy.billing._prices = opened
    yield opened
    await opened.close()


async def charge_of(records: Written, request: str) -> int | None:
    """Wait until a request is in the books, and tell what it was charged."""
    await until(lambda: any(each.request_id == request for each in records.records))
    await until(lambda: not records.waiting)
    [record] = [each for each in records.records if each.request_id == request]
    return record.charge


async def test_a_stream_is_charged_at_the_price_of_its_admission(
    economy: Books, records: Written, prices: PriceList, clock: Clock, make_node: MakeNode
) -> None:
    """A tenfold price that holds from its middle on is the next request's."""
    node, going = await make_node(), asyncio.Event()

    async def slowly(job: Job) -> None:
        job.begin_stream()
        job.say(Data(BEGUN))
        await going.wait()
        job.say(Data(ENDED), End())

    node.scripts = [slowly, go_on(BEGUN + ENDED)]
    reply = await economy.service.open(structs.replace(call(), request_id="req_1"))
    stream = aiter(reply)
    assert b'"a"' in await anext(stream)
    await prices.set(ANY_MODEL, TENFOLD)
    clock.now += NOTICE + timedelta(seconds=1)
    assert prices.price(SMALL.digest, "small") == TENFOLD
    going.set()
    async for _ in stream:
        pass
    assert await charge_of(records, "req_1") == 23
    await read(await economy.service.open(structs.replace(call(), request_id="req_2")))
    assert await charge_of(records, "req_2") == 230
