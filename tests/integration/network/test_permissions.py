"""What a real nats-server lets a node do with the JWT it was given."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from tests.parts.credentials import NODE, OTHER, REGION, node_credentials
from tests.parts.nats import NatsProcess

from garage_ai.network.authority import Authority
from garage_ai.wire import subjects
from garage_ai.wire.connection import Connection, Listeners, Message, connect
from garage_ai.wire.ids import AttemptId, GatewayId
from garage_ai.wire.link_errors import LinkError, PermissionDenied

pytestmark = pytest.mark.anyio

GATEWAY = GatewayId("gaaaaaaaaaa")


@dataclass
class Pair:
    """A gateway and a node on one server, and what the node was told."""

    gateway: Connection
    node: Connection
    errors: list[LinkError] = field(default_factory=list)

    async def denied(self) -> bool:
        """Tell whether the node was refused something since the last question."""
        await self.node.flush()
        said = any(isinstance(error, PermissionDenied) for error in self.errors)
        self.errors.clear()
        return said


@pytest.fixture(params=["tcp", "web"])
async def pair(
    request: pytest.FixtureRequest, nats: NatsProcess, authority: Authority
) -> AsyncIterator[Pair]:
    url = nats.tcp_url if request.param == "tcp" else nats.web_url
    errors: list[LinkError] = []
    gateway = await connect(
        [url], credentials=authority.gateway_credentials(GATEWAY), name="g", give_up_after=20
    )
    node = await connect(
        [url],
        credentials=node_credentials(authority),
        name="n",
        listeners=Listeners(on_error=errors.append),
        give_up_after=20,
    )
    yield Pair(gateway, node, errors)
    await node.close()
    await gateway.close()


async def carried(sender: Connection, receiver: Connection, heard: str, said: str) -> Message:
    """Send one message and give what came of it."""
    got: asyncio.Queue[Message] = asyncio.Queue()
    subscription = await receiver.subscribe(heard, got.put_nowait)
    await receiver.flush()
    sender.publish(said, b"hello")
    message = await asyncio.wait_for(got.get(), 20)
    await subscription.close()
    return message


async def test_a_node_does_its_four_things(pair: Pair) -> None:
    """A node hears its subjects, beats, answers and asks for renewal."""
    ways = [
        (subjects.beat(REGION, NODE), subjects.ALL_BEATS),
        (subjects.renew(NODE), subjects.ALL_RENEWALS),
        (subjects.reply(GATEWAY, NODE, AttemptId("r1")), subjects.replies_to(GATEWAY)),
    ]
    for said, heard in ways:
        message = await carried(pair.node, pair.gateway, heard, said)
        assert (message.subject, message.payload) == (said, b"hello")
    job = subjects.to_node(NODE, "job")
    message = await carried(pair.gateway, pair.node, subjects.all_to_node(NODE), job)
    assert (message.subject, message.no_responders) == (job, False)
    assert not await pair.denied()


@pytest.mark.parametrize(
    "subject",
    [
        subjects.to_node(OTHER, "job"),
        subjects.to_node(NODE, "job"),
        subjects.beat(REGION, OTHER),
        subjects.beat("SE-O", NODE),
        subjects.beat(None, NODE),
        subjects.renew(OTHER),
        subjects.reply(GATEWAY, OTHER, AttemptId("r1")),
        "_INBOX.x",
        "$SYS.REQ.CLAIMS.UPDATE",
        "$JS.API.INFO",
        "anything",
    ],
)
async def test_a_node_may_say_nothing_else(pair: Pair, subject: str) -> None:
    """Every other subject is refused, and the link stays up."""
    pair.node.publish(subject, b"x")
    assert await pair.denied()
    assert pair.node.state == "connected"


@pytest.mark.parametrize(
    "subject",
    [
        subjects.all_to_node(OTHER),
        subjects.to_node(OTHER, "job"),
        "gai.v1.node.*.job",
        subjects.ALL_BEATS,
        subjects.replies_to(GATEWAY),
        "_INBOX.>",
        "$SYS.>",
        ">",
        "gai.>",
    ],
)
async def test_a_node_may_hear_nothing_else(pair: Pair, subject: str) -> None:
    """Every other subscription is refused."""
    await pair.node.subscribe(subject, lambda _: None)
    assert await pair.denied()


async def test_one_gateway_does_not_hear_anothers_replies(
    nats: NatsProcess, authority: Authority
) -> None:
    """A gateway's JWT holds only its own replies."""
    told: list[LinkError] = []
    link = await connect(
        [nats.tcp_url],
        credentials=authority.gateway_credentials(GatewayId("gbbbbbbbbbb")),
        name="g2",
        listeners=Listeners(on_error=told.append),
        give_up_after=20,
    )
    await link.subscribe(subjects.replies_to(GATEWAY), lambda _: None)
    await link.flush()
    await link.close()
    assert [type(error) for error in told] == [PermissionDenied]


async def test_a_job_for_an_absent_node_comes_back_at_once(pair: Pair) -> None:
    """The server's word that nobody hears a subject reaches the reply handler, marked."""
    got: asyncio.Queue[Message] = asyncio.Queue()
    await pair.gateway.subscribe(subjects.replies_to(GATEWAY), got.put_nowait)
    reply = subjects.reply(GATEWAY, OTHER, AttemptId("r9"))
    pair.gateway.publish(subjects.to_node(OTHER, "job"), b"work", reply)
    message = await asyncio.wait_for(got.get(), 20)
    assert (message.subject, message.no_responders, message.payload) == (reply, True, b"")
