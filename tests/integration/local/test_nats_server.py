"""The embedded nats-server as a process."""

import asyncio
import signal
import stat
from pathlib import Path

import pytest
from tests.integration.conftest import MakeNats
from tests.parts.nats import NatsProcess, two_free_ports

from garage_ai.local.nats_server import (
    NatsServer,
    ServerNotReady,
    StrangerOnPort,
    find_program,
    version_of,
)
from garage_ai.network.authority import Authority
from garage_ai.wire.connection import connect
from garage_ai.wire.ids import GatewayId

pytestmark = pytest.mark.anyio


def test_the_installed_program_is_new_enough() -> None:
    """The one that is found says a version we know to work."""
    assert version_of(find_program()) >= (2, 10)


async def test_it_starts_with_jwt_auth_and_keeps_its_files_to_itself(nats: NatsProcess) -> None:
    """Nobody without a JWT is let in, and what it writes is the owner's alone."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", int(nats.tcp_url.rpartition(":")[2])
    )
    await reader.readline()
    writer.write(b'CONNECT {"verbose":false}\r\nPING\r\n')
    assert b"Authorization Violation" in await asyncio.wait_for(reader.readline(), 20)
    writer.close()
    await writer.wait_closed()
    assert stat.S_IMODE(nats.server.config_file.stat().st_mode) == 0o600
    assert nats.server.pid_file.read_text().strip().isdigit()
    assert "Server is ready" in nats.server.log_file.read_text()


async def test_a_killed_server_starts_again_over_its_leftovers(nats: NatsProcess) -> None:
    """Pid file, resolver folder and log of the dead one do not stand in the way."""
    nats.stop(signal.SIGKILL)
    await nats.start()
    link = await connect(
        [nats.tcp_url],
        credentials=nats.authority.gateway_credentials(GatewayId("gaaaaaaaaaa")),
        name="gateway",
        give_up_after=20,
    )
    await link.close()


async def test_not_ready_in_time_says_where_to_look(authority: Authority, tmp_path: Path) -> None:
    """Without a process the probe ends with the log's path."""
    tcp, web = two_free_ports()
    server = NatsServer(
        authority, tmp_path / "nats", tmp_path / "logs", port=tcp, websocket_port=web
    )
    with pytest.raises(ServerNotReady, match=r"nats-server\.log"):
        await server.wait_ready(0.2)


async def test_a_server_that_runs_is_ready_whatever_becomes_of_the_keys(
    nats: NatsProcess, tmp_path: Path
) -> None:
    """Nobody kills a server that serves because a file beside it cannot be read."""
    (tmp_path / "nats" / "authority" / "garage.jwt").unlink()
    await nats.server.wait_ready(20)


async def test_another_networks_server_on_the_port_is_told_apart(
    make_nats: MakeNats, tmp_path: Path
) -> None:
    """A server of another network on our port is a stranger, not ours being ready."""
    process = make_nats()
    await process.start()
    other = Authority.open_or_create(tmp_path / "other")
    ports = [int(url.rpartition(":")[2]) for url in (process.tcp_url, process.web_url)]
    server = NatsServer(
        other, tmp_path / "other", tmp_path / "logs2", port=ports[0], websocket_port=ports[1]
    )
    with pytest.raises(StrangerOnPort):
        await server.wait_ready(20)
