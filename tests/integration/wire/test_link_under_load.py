"""The link while it sends as fast as it can."""

import asyncio
import contextlib
import signal

import pytest
from tests.parts.credentials import NODE, REGION, Told, node_credentials
from tests.parts.nats import NatsProcess

from garage_ai.network.authority import Authority
from garage_ai.wire import subjects
from garage_ai.wire.connection import Connection, connect
from garage_ai.wire.link_errors import LinkError

pytestmark = pytest.mark.anyio

ROUNDS = 3


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
