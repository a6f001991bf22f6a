"""A volunteer whose line carries less than the engine makes."""

import json
import socket
from collections.abc import AsyncIterator

import pytest
from bench.mock_options import Options
from tests.integration.node.conftest import MakeAgent, MakeMock, external
from tests.parts.http_caller import chat_body
from tests.parts.job_caller import Caller, until
from tests.parts.nats import NatsProcess
from tests.parts.relay import Relay

from garage_ai.wire.connection import Connection
from garage_ai.wire.frames import End, Fail

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120), pytest.mark.slow]

UPLOAD = 200_000  # bytes a second
ANSWER = 300_000
CALLS = 12
SMALL = 65_536


@pytest.fixture
async def line(nats: NatsProcess) -> AsyncIterator[str]:
    """Give the address of the server behind a line that uploads slowly."""
    port = int(nats.tcp_url.rsplit(":", 1)[1])
    relay = Relay(port)
    relay.upload(UPLOAD)
    yield f"nats://127.0.0.1:{relay.port}"
    relay.close()


def _hold_little(link: Connection) -> None:
    """Have the kernel hold little of what waits to be sent: what it holds is not seen to wait."""
    assert link._session is not None
    writer = getattr(link._session._client._transport, "_io_writer")  # noqa: B009 - nats-py's own
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)


async def test_a_slow_line_makes_answers_slow_and_loses_none(
    make_agent: MakeAgent, make_mock: MakeMock, caller: Caller, line: str
) -> None:
    """Nor does a client that leaves meanwhile harm the others, or whoever comes next."""
    mock = await make_mock(Options(huge_body=ANSWER))
    rig = await make_agent(external(mock, slots=CALLS), url=line)
    await caller.ready()
    _hold_little(rig.link)
    body = json.dumps(chat_body("mock", "Hej")).encode()
    calls = [caller.call(f"a{number}", body, stream=False) for number in range(CALLS)]
    await until(lambda: rig.link.congested)
    calls[0].cancel()
    for call in calls:
        await call.over(60)
    assert isinstance(calls[0].last, Fail)
    assert [type(call.last) for call in calls[1:]] == [End] * (CALLS - 1)
    assert rig.link.is_connected
    after = caller.call("after", body, stream=False)
    await after.over(30)
    assert isinstance(after.last, End)
