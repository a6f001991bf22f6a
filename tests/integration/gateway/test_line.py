"""A node measures its line at a real gateway's edge, and nobody makes it costly."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.parts.edge import Edge, running_edge

from garage_ai.gateway import line
from garage_ai.gateway.line import MAX_AT_A_TIME, MAX_BYTES, MAX_RUNS
from garage_ai.node.bench.line import LineSpeed, measure_line, rate
from garage_ai.node.folder import Record
from garage_ai.node.gateway_client import GatewayClient
from garage_ai.wire.enrolment import sign_proof
from garage_ai.wire.identity import IdentityFolder, NodeIdentity
from garage_ai.wire.ids import NodeId

pytestmark = pytest.mark.anyio


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    async with running_edge(tmp_path / "edge") as running:
        yield running


@pytest.fixture
async def node(edge: Edge, tmp_path: Path) -> tuple[NodeIdentity, Record]:
    """An enrolled node."""
    made = await edge.services.tokens.create()
    identity = IdentityFolder(tmp_path / "node").create()
    async with GatewayClient(edge.url) as client:
        enrolled = await client.enrol(identity, made.secret or "", "rig", unsandboxed=True)
    record = Record(
        node=enrolled.node,
        member=enrolled.member,
        name="rig",
        gateway=edge.url,
        urls=enrolled.urls,
    )
    return identity, record


async def proof(edge: Edge, identity: NodeIdentity, node: NodeId) -> dict[str, str]:
    async with GatewayClient(edge.url) as client:
        signed = sign_proof(identity, "line", node, await client.nonce())
    return {
        "x-gai-node": signed.node,
        "x-gai-nonce": signed.nonce,
        "x-gai-signature": signed.signature,
    }


async def post(
    edge: Edge, headers: dict[str, str], body: bytes | io.BytesIO = b"", query: str = ""
) -> tuple[int, bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{edge.url}{line.PATH}{query}", data=body, headers=headers) as response,
    ):
        return response.status, await response.read()


async def test_both_ways_are_measured(edge: Edge, node: tuple[NodeIdentity, Record]) -> None:
    """On loopback both are fast; a gateway that is away, or too old for it, is no failure."""
    identity, record = node
    speed = await measure_line(record, identity, 0.0005)
    assert speed.up is not None
    assert speed.down is not None
    assert min(speed.up, speed.down) > 1e6
    stranger = Record(
        node=NodeId("nother"), member="m", name="rig", gateway=edge.url, urls=record.urls
    )
    assert await measure_line(stranger, identity, None) == LineSpeed()


async def test_only_a_node_is_served(edge: Edge, node: tuple[NodeIdentity, Record]) -> None:
    """Without a proof, with one for another purpose or of another node, nothing is given."""
    identity, record = node
    good = await proof(edge, identity, record.node)
    assert (await post(edge, {}))[0] == 401
    assert (await post(edge, good | {"x-gai-node": "nother"}))[0] == 404
    assert (await post(edge, good | {"x-gai-nonce": "x" * 64}))[0] == 400
    async with GatewayClient(edge.url) as client:
        other = sign_proof(identity, "renew", record.node, await client.nonce())
    wrong = {"x-gai-nonce": other.nonce, "x-gai-signature": other.signature}
    assert (await post(edge, good | wrong))[0] == 401
    assert await post(edge, good, b"abc") == (200, b'{"received":3}')
    status, noise = await post(edge, good, query="?down=100000")
    assert (status, len(noise)) == (200, 100_000)


@pytest.mark.parametrize("query", ["?down=-1", "?down=x", f"?down={MAX_BYTES + 1}", "?down=9" * 9])
async def test_no_more_is_given_than_the_bound(
    edge: Edge, node: tuple[NodeIdentity, Record], query: str
) -> None:
    """What is no number within it is refused."""
    identity, record = node
    status, body = await post(edge, await proof(edge, identity, record.node), query=query)
    assert status == 400, body


async def test_no_more_is_taken_than_the_bound(
    edge: Edge, node: tuple[NodeIdentity, Record]
) -> None:
    """A body beyond it is broken off."""
    identity, record = node
    headers = await proof(edge, identity, record.node)
    try:
        status, _ = await post(edge, headers, io.BytesIO(bytes(MAX_BYTES + (1 << 20))))
    except aiohttp.ClientError:
        return
    assert status == 413


async def test_one_node_does_not_measure_for_ever(
    edge: Edge, node: tuple[NodeIdentity, Record]
) -> None:
    """Beyond its share it is told when to come back."""
    identity, record = node
    headers = await proof(edge, identity, record.node)
    for _ in range(MAX_RUNS):
        assert (await post(edge, headers))[0] == 200
    status, body = await post(edge, headers)
    assert status == 429
    assert b"too_many_measurements" in body


async def test_few_measure_at_a_time(
    edge: Edge, node: tuple[NodeIdentity, Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who keep a run open in silence lose it, and the next one gets its turn."""
    monkeypatch.setattr(line, "SECONDS", 5.0)
    identity, record = node
    headers = await proof(edge, identity, record.node)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"POST {line.PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n{head}\r\n"
    silent = []
    for _ in range(MAX_AT_A_TIME):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(request.encode())
        silent.append((reader, writer))
    async with asyncio.timeout(30):
        statuses = [(await post(edge, headers))[0] for _ in range(3)]
        assert statuses[-1] == 429
        for reader, writer in silent:
            assert b"408" in await reader.readline()
            writer.close()
            await writer.wait_closed()
    assert (await post(edge, headers))[0] == 200


def test_a_rate_leaves_the_waiting_out() -> None:
    """But a run that was nearly all waiting is not made endlessly fast."""
    assert rate(1000, 2.0, 1.0) == 1000.0
    assert rate(1000, 1.0, None) == 1000.0
    assert rate(1000, 1.0, 1.0) == 10_000.0
