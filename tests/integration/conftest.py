"""What integration tests share: a network's keys and a real nats-server."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.parts.nats import NatsProcess

from garage_ai.local.nats_server import TlsFiles
from garage_ai.network.authority import Authority

MakeNats = Callable[..., NatsProcess]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The keys of a new network."""
    return Authority.open_or_create(tmp_path / "nats")


@pytest.fixture
async def make_nats(authority: Authority, tmp_path: Path) -> AsyncIterator[MakeNats]:
    """Make servers of the new network that are gone at the end."""
    made: list[NatsProcess] = []

    def make(tls: TlsFiles | None = None) -> NatsProcess:
        made.append(NatsProcess(authority, tmp_path, tls=tls))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
async def nats(make_nats: MakeNats) -> NatsProcess:
    """A running server of the new network, without TLS."""
    process = make_nats()
    await process.start()
    return process
