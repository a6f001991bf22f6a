"""A request is admitted before any node hears of it, and gives back what it did not use."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace
from tests.integration.network.conftest import SMALL, MakeNode, until
from tests.integration.serving.test_service import CHAT, Records, read
from tests.parts.scripted_node import Job, event
from tests.parts.unbilled import NoBooks

from garage_ai.accounts import Demand, Key, ModelForbidden, RateLimited, Ticket
from garage_ai.ledger import NanoGai, Receipt
from garage_ai.ledger.charges import Price
from garage_ai.network.names import KnownModel
from garage_ai.network.network import Network
from garage_ai.serving import Bound, Call, RegionForbidden, Service, ServingError
from garage_ai.serving.books import Bill, Quote, Write
from garage_ai.serving.service import BYTES_A_TOKEN
from garage_ai.storage.ids import KeyId, MemberId
from garage_ai.storage.usage import UsageRecord
from garage_ai.wire.frames import Accepted, Data

pytestmark = pytest.mark.anyio


class Watched(Ticket):
    """A ticket that tells how often it was ended, and with what."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[int] = []
        self.charged: list[int] = []
        self.left = 0

    def leave(self) -> None:
        """Note it."""
        self.left += 1

    def finish(self, tokens: int, charge: int = 0) -> None:
        """Note it."""
        self.ended.append(tokens)
        self.charged.append(charge)


@dataclass
class Rules:
    """Limits as the test says."""

    allowed: frozenset[str] | None = None
    places: frozenset[str] | None = None
    refuses: bool = False
    demands: list[Demand] = field(default_factory=list)
    tickets: list[Watched] = field(default_factory=list)

    def models(self, _: Key) -> frozenset[str] | None:
        return self.allowed

    def regions(self, _: Key) -> frozenset[str] | None:
        return self.places

    async def admit(self, _: Key, demand: Demand) -> Ticket:
        self.demands.append(demand)
        if self.refuses:
            raise RateLimited("too much", retry_after=2.0)
        self.tickets.append(Watched())
        return self.tickets[-1]


@dataclass
class Cashier:
    """Books that know what a call costs some time after its end."""

    kept: list[tuple[UsageRecord, Write]] = field(default_factory=list)

    def weigh(self) -> float:
        """Weigh as much as everybody else."""
        return 1.0

    def quote(self, call: Call, model: str, tokens: tuple[int, int]) -> Quote:
        """Tell a price."""
        return Quote(Price(NanoGai(0), NanoGai(0)), NanoGai(700))

    async def open(self, call: Call, quote: Quote | None) -> Bill:
        """Promise it."""
        return self

    def close(self, record: UsageRecord, write: Write) -> None:
        """Take the end of a call, and charge it when the test says."""
        self.kept.append((record, write))


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def rules() -> Rules:
    return Rules()


@pytest.fixture
def service(network: Network, records: Records, rules: Rules) -> Service:
    return Service(network, records, rules, NoBooks())


def call(
    model: str = "small",
    region: str | None = None,
    bound: Bound | None = None,
    *,
    stream: bool = False,
) -> Call:
    """Ask for a chat."""
    now = datetime.now(UTC)
    key = Key(KeyId("key_1"), MemberId("mbr_1"), "k", frozenset({"inference"}), None, now)
    return Call("req_1", "chat", key, model, CHAT, stream, False, region, bound or Bound())


async def test_the_engines_count_is_what_is_used(
    service: Service, rules: Rules, make_node: MakeNode
) -> None:
    """A whole answer ends its ticket once, with what the engine counted."""
    await make_node()
    await read(await service.open(call(bound=Bound(20, 2))))
    [ticket], [demand] = rules.tickets, rules.demands
    assert ticket.ended == [4]
    assert demand == Demand(len(CHAT) + 40, 40)


async def test_a_batch_takes_no_place_from_chats(
    service: Service, rules: Rules, make_node: MakeNode
) -> None:
    """It has time, and its member's own chats are not to wait for it."""
    await make_node()
    await read(await service.open(replace(call(), priority="batch")))
    await read(await service.open(call()))
    assert [demand.live for demand in rules.demands] == [False, True]


async def test_a_charge_is_counted_when_it_is_known(
    network: Network, records: Records, rules: Rules, make_node: MakeNode
) -> None:
    """The worst case is told at admission; the slot is free at the end, the charge comes later."""
    await make_node()
    cashier = Cashier()
    service = Service(network, records, rules, cashier)
    await read(await service.open(call()))
    [ticket], [(record, write)] = rules.tickets, cashier.kept
    assert rules.demands[0].charge == 700
    assert (ticket.left, ticket.ended) == (1, [])
    write(Receipt(replace(record, charge=400)))
    assert (ticket.ended, ticket.charged) == ([4], [400])
    assert records.one.charge == 400


async def test_what_is_allowed_beyond_the_context_is_never_used(
    service: Service, rules: Rules, make_node: MakeNode, network: Network
) -> None:
    """A client that always allows a million tokens is refused for no limit above the context."""
    await make_node()
    network.catalogue_is([KnownModel("small", SMALL.digest, "chat", 700, rank=1)])
    await read(await service.open(call(bound=Bound(1_000_000, 2))))
    [demand] = rules.demands
    assert (demand.tokens, demand.completion) == (len(CHAT) + 1400, 1400)


async def test_without_a_bound_the_context_is_the_worst_case(
    service: Service, rules: Rules, make_node: MakeNode, network: Network
) -> None:
    """Nobody writes more than fits: where no node tells its context, into the catalogue's."""
    await make_node()
    network.catalogue_is([KnownModel("small", SMALL.digest, "chat", 700, rank=1)])
    await read(await service.open(call()))
    assert rules.demands == [Demand(len(CHAT) + 700)]


async def test_a_refusal_is_recorded(
    service: Service, rules: Rules, records: Records, make_node: MakeNode
) -> None:
    """It has its one usage record, and no node heard of it."""
    node = await make_node()
    rules.refuses = True
    with pytest.raises(RateLimited):
        await service.open(call())
    assert records.one.outcome == "rate_limit_exceeded"
    assert (records.one.node, node.jobs) == (None, [])


async def test_a_client_that_leaves_midway(
    service: Service, rules: Rules, make_node: MakeNode
) -> None:
    """What was seen is counted, once, as the engine had not come to count."""
    node = await make_node()

    async def endless(job: Job) -> None:
        job.begin_stream()
        job.say(Data(event("a")))
        await job.cancelled.wait()

    node.scripts = [endless]
    reply = await service.open(call(stream=True))
    await reply.aclose()
    await reply.aclose()
    assert rules.tickets[0].ended == [len(CHAT) // BYTES_A_TOKEN + 1]


async def test_a_client_that_leaves_before_the_answer(
    service: Service, rules: Rules, make_node: MakeNode
) -> None:
    """Nothing was answered, so nothing was used."""
    node = await make_node()

    async def think(job: Job) -> None:
        job.say(Accepted())
        await job.cancelled.wait()

    node.scripts = [think]
    opening = asyncio.create_task(service.open(call(stream=True)))
    await until(lambda: len(node.jobs) == 1)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert rules.tickets[0].ended == [0]


async def test_nobody_serves(service: Service, rules: Rules) -> None:
    """A request that fails before any answer used nothing."""
    with pytest.raises(ServingError):
        await service.open(call())
    assert [ticket.ended for ticket in rules.tickets] == [[0]]


async def test_models(service: Service, rules: Rules, make_node: MakeNode) -> None:
    """The alias stands for an allowed model, or for any where the alias itself is given."""
    await make_node()
    rules.allowed = frozenset({"other"})
    with pytest.raises(ModelForbidden):
        await service.open(call())
    with pytest.raises(ServingError) as caught:
        await service.open(call("garage-chat"))
    assert caught.value.code == "no_node"
    for allowed in ("small", "garage-chat"):
        rules.allowed = frozenset({allowed})
        await read(await service.open(call("garage-chat")))


async def test_regions(service: Service, rules: Rules, make_node: MakeNode) -> None:
    """Of several allowed regions one is chosen where a node has room; others are refused."""
    await make_node("n1", region="SE-AB")
    await make_node("n2", region="SE-M")
    rules.places = frozenset({"SE-C", "SE-M"})
    reply = await service.open(call())
    assert reply.region == "SE-M"
    await read(reply)
    with pytest.raises(RegionForbidden):
        await service.open(call(region="SE-AB"))
    rules.places = frozenset()
    with pytest.raises(RegionForbidden, match="no region"):
        await service.open(call())
