"""Becoming a node of a real gateway's books, and stopping to be one."""

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bench.mock_engine import MockEngine
from bench.mock_options import Options
from tests.integration.node.conftest import MakeMock
from tests.parts.edge import Edge, running_edge, served
from tests.parts.pieces import its_reader_has_it

from garage_ai import __version__
from garage_ai.accounts import Nodes
from garage_ai.gateway.app import create_app
from garage_ai.local.tls import Certificates, own_certificates, server_context
from garage_ai.network.authority import Authority
from garage_ai.network.enrolment import Enrolment
from garage_ai.node.engines.external import external_digest
from garage_ai.node.errors import (
    AgentTooOld,
    AlreadyRunning,
    EnrolmentFailed,
    GatewayAway,
    NotEnrolled,
    NotPossible,
)
from garage_ai.node.events import Done, Event
from garage_ai.node.folder import Choice, NodeFolder, Record
from garage_ai.node.gateway_client import GatewayClient, GatewayRefused
from garage_ai.node.join import join
from garage_ai.node.leaving import leave
from garage_ai.node.records import tls_for, tls_with
from garage_ai.node.renewal import JwtKeeper, ask_gateway
from garage_ai.node.setup import make_engine
from garage_ai.wire.claims import decode
from garage_ai.wire.versions import AgentVersion

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    """A gateway with real accounts."""
    async with running_edge(tmp_path / "edge") as running:
        yield running


@pytest.fixture
async def choice(make_mock: MakeMock) -> Choice:
    """An engine that is there."""
    return choice_of(await make_mock(Options()))


def choice_of(mock: MockEngine) -> Choice:
    return Choice(engine="external", engine_url=mock.url, models=("mock",))


@pytest.fixture
def folder(tmp_path: Path) -> NodeFolder:
    """A node's new folder."""
    return NodeFolder(tmp_path / "node")


async def token(edge: Edge) -> str:
    made = await edge.services.tokens.create(region="SE-AB")
    assert made.secret is not None
    return made.secret


def quiet(_: Event) -> None:
    return None


async def enrol(
    edge: Edge, folder: NodeFolder, choice: Choice, secret: str | None = None
) -> Record:
    given = await token(edge) if secret is None else secret
    return await join(edge.url, given, folder, choice=choice, name="rig", tell=quiet)


async def test_enrols(edge: Edge, folder: NodeFolder, choice: Choice) -> None:
    """A token gives an identity, kept for the owner alone, and the books know the node."""
    record = await enrol(edge, folder, choice)
    assert record == folder.load()
    assert (record.name, record.region, record.gateway) == ("rig", "SE-AB", edge.url)
    assert record.urls == ("nats://127.0.0.1:1",)
    claims = decode(folder.identity.load_jwt(), issuers=None)
    assert claims.sub == folder.identity.load().public_key
    for name in ("identity.json", "node.nk", "node.jwt"):
        assert stat.S_IMODE((folder.path / name).stat().st_mode) == 0o600
    (enrolled,) = edge.network.enrolled
    assert (enrolled.id, enrolled.name, enrolled.region) == (record.node, "rig", "SE-AB")


async def test_an_external_model_bears_the_members_mark(
    edge: Edge, folder: NodeFolder, choice: Choice
) -> None:
    """The member that the gateway named is part of the digest."""
    record = await enrol(edge, folder, choice)
    (enrolled,) = edge.network.enrolled
    engine = await make_engine(choice, record.member, folder)
    assert engine.offers[0].digest == external_digest(enrolled.member, "mock")


async def test_joining_again_needs_no_token(edge: Edge, folder: NodeFolder, choice: Choice) -> None:
    """The identity that is there is used, with whatever engine is chosen now."""
    record = await enrol(edge, folder, choice)
    changed = Choice(engine="external", engine_url=choice.engine_url, models=("mock",), slots=7)
    again = await enrol(edge, folder, changed, "")
    assert again.node == record.node
    assert folder.load().choice.slots == 7
    assert len(edge.network.enrolled) == 1


async def test_a_lost_answer_may_be_asked_for_again(
    edge: Edge, folder: NodeFolder, choice: Choice
) -> None:
    """A join that died before it had saved anything ends as the same node with the same token."""
    secret = await token(edge)
    record = await enrol(edge, folder, choice, secret)
    (folder.path / "identity.json").unlink()
    (folder.path / "node.jwt").unlink()
    assert (await enrol(edge, folder, choice, secret)).node == record.node


async def test_an_agent_that_is_too_old_is_told_what_to_type(
    tmp_path: Path, folder: NodeFolder, choice: Choice
) -> None:
    """With a code of its own; nothing is kept of the node that is none."""
    async with running_edge(tmp_path, min_agent=AgentVersion(999, 0, 0)) as picky:
        with pytest.raises(AgentTooOld, match=rf"999.0.0 on, .* {__version__}.*gai node update$"):
            await enrol(picky, folder, choice)
    assert not (folder.path / "identity.json").exists()


@pytest.mark.parametrize("given", ["gaij_nonsense", "x" * 200])
async def test_a_bad_token_is_refused_in_words(
    edge: Edge, folder: NodeFolder, choice: Choice, given: str
) -> None:
    """The gateway's reason reaches the owner, and nothing is kept but the key."""
    with pytest.raises(EnrolmentFailed, match="token"):
        await enrol(edge, folder, choice, given)
    with pytest.raises(NotEnrolled):
        folder.load()


async def test_a_used_token_is_refused(
    edge: Edge, folder: NodeFolder, choice: Choice, tmp_path: Path
) -> None:
    """One token lets in one node."""
    secret = await token(edge)
    await enrol(edge, folder, choice, secret)
    with pytest.raises(GatewayRefused) as refused:
        await enrol(edge, NodeFolder(tmp_path / "other"), choice, secret)
    assert refused.value.reason == "token_used"


async def test_needs_a_token_the_first_time(edge: Edge, folder: NodeFolder, choice: Choice) -> None:
    """Without one the owner is told who makes them."""
    with pytest.raises(NotPossible, match="gai node token"):
        await enrol(edge, folder, choice, "")


async def test_checks_the_engine_before_the_token_is_used(
    edge: Edge, folder: NodeFolder, make_mock: MakeMock
) -> None:
    """An engine that is away, or does not know the model, costs no token."""
    secret = await token(edge)
    mock = await make_mock(Options(models="other"))
    with pytest.raises(NotPossible, match="does not list mock"):
        await enrol(edge, folder, choice_of(mock), secret)
    await mock.close()
    with pytest.raises(NotPossible, match="cannot be reached"):
        await enrol(edge, folder, choice_of(mock), secret)
    with pytest.raises(NotPossible, match="--model"):
        await enrol(edge, folder, Choice(engine="external", engine_url="http://h/v1"), secret)
    with pytest.raises(NotPossible, match="no engine"):
        await enrol(edge, folder, Choice(engine="other"), secret)
    assert edge.network.enrolled == []


async def test_a_folder_serves_one_network(
    edge: Edge, folder: NodeFolder, choice: Choice, tmp_path: Path
) -> None:
    """An identity of another network is not thrown away by mistake."""
    await enrol(edge, folder, choice)
    async with running_edge(tmp_path / "second") as second:
        with pytest.raises(NotPossible, match="gai node leave"):
            await enrol(second, folder, choice)


async def test_a_removed_node_joins_anew(edge: Edge, folder: NodeFolder, choice: Choice) -> None:
    """With a new token it becomes another node, under a new key."""
    record = await enrol(edge, folder, choice)
    key = folder.identity.load().public_key
    await edge.services.enrolment.remove(record.node)
    again = await enrol(edge, folder, choice)
    assert again.node != record.node
    assert folder.identity.load().public_key != key


async def test_leaves(edge: Edge, folder: NodeFolder, choice: Choice) -> None:
    """The books strike the node off, its key is cut off, and the folder holds no identity."""
    record = await enrol(edge, folder, choice)
    key = folder.identity.load().public_key
    left = await leave(folder)
    assert (left.node, left.gateway, left.network) == (record.node, edge.url, "left")
    assert edge.revoker.revoked == [key]
    assert edge.network.removed == [record.node]
    with pytest.raises(NotEnrolled):
        folder.load()
    assert (await leave(folder)).network == "no_node"


async def test_does_not_touch_a_folder_in_use(
    edge: Edge, folder: NodeFolder, choice: Choice
) -> None:
    """An agent that runs keeps its folder."""
    await enrol(edge, folder, choice)
    with folder.lock():
        with pytest.raises(AlreadyRunning):
            await enrol(edge, folder, choice)
        with pytest.raises(AlreadyRunning):
            await leave(folder)


async def test_asks_the_gateway_whether_it_is_still_a_node(
    edge: Edge, folder: NodeFolder, choice: Choice
) -> None:
    """A node gets a fresh JWT and the network's addresses; a removed one learns it for certain."""
    record = await enrol(edge, folder, choice)
    identity = folder.identity.load()
    keeper = JwtKeeper(folder.identity, identity)
    answer = await ask_gateway(edge.url, None, identity, record.node, keeper)
    assert answer == ("renewed", ("nats://127.0.0.1:1",))
    await edge.services.enrolment.remove(record.node)
    assert (await ask_gateway(edge.url, None, identity, record.node, keeper))[0] == "gone"


async def test_tells_its_steps(edge: Edge, folder: NodeFolder, choice: Choice) -> None:
    """The owner sees what is being done, in order."""
    told: list[Event] = []
    await join(edge.url, await token(edge), folder, choice=choice, name="rig", tell=told.append)
    assert [event.step for event in told if isinstance(event, Done)] == [
        "preflight",
        "check",
        "enrol",
    ]


async def test_gives_up_on_a_gateway_that_is_away(folder: NodeFolder) -> None:
    """A few tries, then an error that says so."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    identity = folder.identity.create()
    async with server, GatewayClient(f"http://127.0.0.1:{port}", first_wait=0.01) as client:
        with pytest.raises(GatewayAway, match="cannot be reached"):
            await client.enrol(identity, "gaij_x", "rig", unsandboxed=True)


async def test_takes_an_answer_that_comes_in_pieces() -> None:
    """A network cuts an answer where it likes; a proxy on the way does as well."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"nonce": "twice"}'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        for piece in (body[:6], body[6:]):
            writer.write(piece)
            await writer.drain()
            await its_reader_has_it()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, GatewayClient(f"http://127.0.0.1:{port}") as client:
        assert await client.nonce() == "twice"


async def test_a_server_without_tls_is_told_as_such(edge: Edge) -> None:
    """Not as a permission that is missing, which is what that error's number means elsewhere."""
    base = edge.url.replace("http:", "https:")
    async with GatewayClient(base, first_wait=0.01) as client:
        with pytest.raises(GatewayAway, match="does not speak TLS"):
            await client.nonce()


@asynccontextmanager
async def encrypted(
    edge: Edge, authority: Authority, tls: Certificates, port: int = 0
) -> AsyncIterator[str]:
    """Serve the same gateway with the certificate of a CA, and give its address."""
    enrolment = Enrolment(
        authority, Nodes(edge.storage), edge.revoker, urls=["nats://127.0.0.1:1"], ca_pem=tls.ca_pem
    )
    services = replace(edge.services, ca=tls.ca_pem, enrolment=enrolment)
    serving = served(create_app(services), port=port, tls=server_context(tls.files))
    async with serving as (_, its_port):
        yield f"https://127.0.0.1:{its_port}"


@pytest.mark.parametrize("days", [400, -20 * 365])
async def test_a_clock_that_is_wrong_is_named(edge: Edge, tmp_path: Path, days: int) -> None:
    """A battery that is empty, or another system beside: a new token would be of no use."""
    then = datetime.now(UTC) + timedelta(days=days)
    tls = own_certificates(tmp_path / "tls", "127.0.0.1", now=then)
    authority = Authority.open_or_create(tmp_path / "edge" / "nats")
    async with (
        encrypted(edge, authority, tls) as base,
        GatewayClient(base, tls=tls_with(tls.ca_pem), first_wait=0.01) as client,
    ):
        with pytest.raises(GatewayAway, match=r"not valid at .* this PC's clock"):
            await client.nonce()


async def test_a_new_token_makes_a_new_ca_known(
    edge: Edge, folder: NodeFolder, choice: Choice, tmp_path: Path
) -> None:
    """The network's CA became another: the node stays what it was, and trusts the new one."""
    old, new = (own_certificates(tmp_path / name, "127.0.0.1") for name in ("old", "new"))
    authority = Authority.open_or_create(tmp_path / "edge" / "nats")

    async def joined(base: str, secret: str) -> Record:
        return await join(base, secret, folder, choice=choice, name="rig", tell=quiet)

    async with encrypted(edge, authority, old) as base:
        first = await joined(base, f"{await token(edge)}.{old.fingerprint}")
    port = int(base.rpartition(":")[2])
    async with encrypted(edge, authority, new, port):
        with pytest.raises(GatewayRefused, match="does not trust") as untold:
            await joined(base, "")
        assert untold.value.reason == "tls"
        with pytest.raises(EnrolmentFailed, match="another CA"):
            await joined(base, f"{await token(edge)}.{'0' * 64}")
        assert folder.load() == first
        again = await joined(base, f"{await token(edge)}.{new.fingerprint}")
        assert again == folder.load()
        assert (again.node, tls_for(again) is not None) == (first.node, True)
        assert (await joined(base, "")).ca_pem == new.ca_pem
    assert (first.ca_pem, again.ca_pem) == (old.ca_pem, new.ca_pem)
