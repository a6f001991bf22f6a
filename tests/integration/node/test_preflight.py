"""The checklist on this PC, with a real gateway to reach and real ports that are closed."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.parts.edge import Edge, running_edge

from garage_ai.node.errors import NotPossible
from garage_ai.node.events import Done, Event, Missing
from garage_ai.node.folder import Choice, NodeFolder, Record
from garage_ai.node.join import join
from garage_ai.node.preflight import checks
from garage_ai.node.preflight.reach import look
from garage_ai.node.preflight.service import inspect_all, inspect_needs
from garage_ai.wire.ids import NodeId

pytestmark = pytest.mark.anyio


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    """A gateway with real accounts."""
    async with running_edge(tmp_path / "edge") as running:
        yield running


@pytest.fixture
def closed() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def record(gateway: str, *urls: str) -> Record:
    return Record(node=NodeId("n1"), member="m", name="rig", gateway=gateway, urls=urls)


async def test_reaches_a_gateway_and_one_of_two_addresses(edge: Edge, closed: int) -> None:
    """The round trip and the clock come from the gateway; one open address is enough."""
    host, _, port = edge.url.removeprefix("http://").partition(":")
    urls = (f"nats://{host}:{closed}", f"nats://{host}:{port}")
    reach = await look(record(edge.url, *urls))
    assert reach.round_trip is not None
    assert reach.round_trip > 0
    assert reach.skew is not None
    assert abs(reach.skew) < 60
    assert (reach.nats, reach.nats_open) == (urls, urls[1:])


async def test_a_gateway_that_is_away_is_told(tmp_path: Path, closed: int) -> None:
    """A node whose network cannot be reached fails two checks, with the reason."""
    folder = NodeFolder(tmp_path / "node")
    folder.prepare()
    address = f"127.0.0.1:{closed}"
    folder.save(record(f"http://{address}", f"nats://{address}"))
    report = await inspect_all(folder, "external")
    failed = {each.check: each for each in report.failed}
    assert set(failed) == {"gateway", "nats"}
    assert failed["gateway"].values["error"]


async def test_this_pc_can_lend_a_server(tmp_path: Path) -> None:
    """An engine of the owner's own needs neither card nor containers."""
    report = await inspect_needs(NodeFolder(tmp_path / "node"), Choice(engine="external"))
    assert report.failed == ()
    assert {each.check for each in report.findings} == {"os", "python", "folder"}


async def test_a_pc_that_lacks_something_does_not_enrol(
    edge: Edge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing is told first, and no token is used up."""
    monkeypatch.setattr(checks, "LEAST_DISK", 1 << 62)
    made = await edge.services.tokens.create()
    assert made.secret is not None
    told: list[Event] = []
    folder, choice = NodeFolder(tmp_path / "n"), Choice(engine="llamacpp")
    with pytest.raises(NotPossible, match=r"disk.*gai node doctor"):
        await join(edge.url, made.secret, folder, choice=choice, name="rig", tell=told.append)
    (missing,) = [each for each in told if isinstance(each, Missing)]
    assert [(each.check, each.state) for each in missing.findings] == [("disk", "fail")]
    assert Done("preflight") not in told
    (token,) = await edge.services.tokens.list()
    assert token.redeemed_at is None
