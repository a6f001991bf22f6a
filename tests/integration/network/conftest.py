"""A gateway's network on a real NATS server, with scripted nodes."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from tests.parts.nats import NatsProcess
from tests.parts.scripted_node import ScriptedNode

from garage_ai.network.admission import ImageList
from garage_ai.network.attempt import Limits
from garage_ai.network.authority import Authority
from garage_ai.network.dispatcher import DispatchLimits
from garage_ai.network.models import EnrolledNode
from garage_ai.network.names import KnownClaim, KnownModel, Names
from garage_ai.network.network import Network
from garage_ai.network.salts import Salts
from garage_ai.wire.connection import Listeners, connect
from garage_ai.wire.ids import Digest, GatewayId, NodeId
from garage_ai.wire.messages import ModelServed

SMALL = KnownModel("small", Digest("sha256:" + "a" * 64), "chat", 8192, rank=1)
GATEWAY = GatewayId("gtest")

# Few and small, and long enough for a machine that stands still now and then.
LIMITS = DispatchLimits(
    connect=2.0,
    attempt=Limits(accepted=10.0, first_byte=15.0, silence=12.0, total=60.0),
    queue_size=4,
    queue_seconds=30.0,
    retries=3,
    max_answer=4_000_000,
)


def hurry(network: Network, *, queue: float = LIMITS.queue_seconds, **seconds: float) -> None:
    """Let some of a network's limits be short: for tests of what happens when they are over."""
    network.dispatcher._limits = replace(LIMITS, attempt=replace(LIMITS.attempt, **seconds))
    network.dispatcher.placement._seconds["chat"] = queue


@dataclass
class FakeBooks:
    """Accounts in memory."""

    enrolled: dict[NodeId, EnrolledNode] = field(default_factory=dict)
    renewals: list[NodeId] = field(default_factory=list)
    beats: list[NodeId] = field(default_factory=list)
    decided: ImageList = field(default_factory=ImageList)
    claimed: list[KnownClaim] = field(default_factory=list)

    async def nodes(self) -> Sequence[EnrolledNode]:
        return list(self.enrolled.values())

    async def node(self, node_id: NodeId) -> EnrolledNode | None:
        return self.enrolled.get(node_id)

    async def claims(self) -> list[KnownClaim]:
        return self.claimed

    async def images(self) -> ImageList:
        return self.decided

    async def claim(self, name: str, member: str, digest: Digest, *, reserved: bool) -> bool:
        others = [each for each in self.claimed if (each.name, each.member) != (name, member)]
        free = not reserved and all(each.name != name for each in others)
        claim = KnownClaim(name, member, digest, admitted=free, by_admin=False)
        self.claimed = [*others, claim]
        return free

    async def renew(self, node_id: NodeId) -> str:
        self.renewals.append(node_id)
        return "a.new.jwt"


async def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something that is about to happen; fail when it does not."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            pytest.fail("it did not happen in time")
        await asyncio.sleep(0.005)


MakeNode = Callable[..., Awaitable[ScriptedNode]]


@pytest.fixture
def books() -> FakeBooks:
    """Books with no node in them."""
    return FakeBooks()


@asynccontextmanager
async def a_network(
    urls: Sequence[str], authority: Authority, books: FakeBooks, gateway: GatewayId = GATEWAY
) -> AsyncIterator[Network]:
    """Open a gateway's view of the network at these servers."""
    made: list[Network] = []
    link = await connect(
        urls,
        credentials=authority.gateway_credentials(gateway),
        name="gateway",
        listeners=Listeners(on_disconnect=lambda _: made[0].link_lost()),
        give_up_after=20,
    )
    names = Names([SMALL])
    made.append(
        Network(
            link,
            gateway,
            books=books,
            names=names,
            limits=LIMITS,
            on_beat=books.beats.append,
            salts=Salts(authority.salt_key),
        )
    )
    await made[0].start()
    yield made[0]
    await made[0].close()
    await link.close()


@pytest.fixture
async def network(
    nats: NatsProcess, authority: Authority, books: FakeBooks
) -> AsyncIterator[Network]:
    """A gateway's view of a network without nodes."""
    async with a_network([nats.tcp_url], authority, books) as network:
        yield network


@pytest.fixture
async def make_node(
    nats: NatsProcess, authority: Authority, books: FakeBooks, network: Network
) -> AsyncIterator[MakeNode]:
    """Make nodes that serve the small model and are in choice when given."""
    made: list[ScriptedNode] = []

    async def make(
        name: str = "n0", *, region: str | None = None, slots: int = 2, batch: int | None = 0
    ) -> ScriptedNode:
        node_id = NodeId(name)
        books.enrolled[node_id] = EnrolledNode(node_id, f"mbr_{name}", name, region)
        network.enrol(books.enrolled[node_id])
        model = ModelServed(SMALL.name, SMALL.digest, slots=slots, batch=batch)
        node = await ScriptedNode.join(nats.tcp_url, authority, node_id, model)
        made.append(node)
        await node.beat()
        await until(lambda: network.registry.nodes[node_id].state == "ready")
        return node

    yield make
    for node in made:
        await node.close()
