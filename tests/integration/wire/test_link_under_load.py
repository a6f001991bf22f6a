"""The link while it sends as fast as it can."""

import asyncio
import contextlib
import signal

import pytest
from tests.parts.credentials import NODE, REGION, Told, node_credentials
from tests.parts.nats import NatsProcess

from garage_ai.network.authority import Authority
from garage_ai.wire import session, subjects
from garage_ai.wire.connection import Connection, Message, connect
from garage_ai.wire.ids import GatewayId
from garage_ai.wire.link_errors import LinkError

pytestmark = pytest.mark.anyio

GATEWAY = GatewayId("gaaaaaaaaaa")
ROUNDS = 3
MANY = 4000


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """The loop of a node without uvloop, and that of all others: each writes in its own way."""
    return "asyncio", {"use_uvloop": request.param}


async def flood(link: Connection) -> None:
    """Publish without a pause until the link is down."""
    with contextlib.suppress(LinkError):
        while True:
            for _ in range(20):
                link.publish(subjects.beat(REGION, NODE), b"x" * 2000)
            await asyncio.sleep(0)


async def test_a_server_killed_under_load_is_noticed(
    nats: NatsProcess, authority: Authority
) -> None:
    """Bytes that wait when the connection breaks do not keep the link from coming back."""
    told = Told()
    link = await connect(
        [nats.tcp_url],
        credentials=node_credentials(authority),
        name="node",
        listeners=told.listeners(),
        give_up_after=20,
    )
    for number in range(ROUNDS):
        flooding = asyncio.create_task(flood(link))
        await asyncio.sleep(0.05)
        nats.stop(signal.SIGKILL)
        await told.until(lambda number=number: len(told.lost) > number, 20)  # type: ignore[misc]
        await flooding
        await nats.start()
        await link.wait_connected(20)
    await link.close()


async def test_a_burst_is_under_way_before_its_turn_ends(
    nats: NatsProcess, authority: Authority
) -> None:
    """Whoever is to work on the first of many messages need not wait until the last is made."""
    link = await connect(
        [nats.tcp_url], credentials=node_credentials(authority), name="node", give_up_after=20
    )
    for _ in range(session._AT_ONCE):
        link.publish(subjects.beat(REGION, NODE), b"x")
    assert link._session is not None
    assert link._session.buffered == 0
    await link.close()


async def test_a_line_that_is_being_closed_is_written_to_no_more(
    nats: NatsProcess, authority: Authority
) -> None:
    """Until its end is known, whoever sends is refused as when it is, or not at all."""
    told = Told()
    link = await connect(
        [nats.tcp_url],
        credentials=node_credentials(authority),
        name="node",
        listeners=told.listeners(),
        give_up_after=20,
    )
    assert link._session is not None
    writer = link._session._client.writer
    assert writer is not None
    writer.transport.abort()
    async with asyncio.timeout(20):
        await flood(link)
    await told.until(lambda: bool(told.lost), 20)
    await link.wait_connected(20)
    await link.close()


async def test_what_a_slow_server_is_sent_keeps_its_order(nats: NatsProcess) -> None:
    """However it is written: what fills the socket, what waits for it, and what comes after."""
    gateway, node = [
        await connect([nats.tcp_url], credentials=credentials, name="link", give_up_after=20)
        for credentials in (
            nats.authority.gateway_credentials(GATEWAY),
            node_credentials(nats.authority),
        )
    ]
    heard: asyncio.Queue[Message] = asyncio.Queue()
    await node.subscribe(subjects.all_to_node(NODE), heard.put_nowait)
    await node.flush()
    nats.signal(signal.SIGSTOP)
    waited = False
    for number in range(MANY):
        gateway.publish(subjects.to_node(NODE, "job"), b"%d" % number + b"x" * 2500)
        waited = waited or gateway.congested
        if number % 50 == 0:
            await asyncio.sleep(0)
    assert waited
    nats.signal(signal.SIGCONT)
    async with asyncio.timeout(60):
        got = [await heard.get() for _ in range(MANY)]
    assert [int(each.payload.rstrip(b"x")) for each in got] == list(range(MANY))
    await node.close()
    await gateway.close()
