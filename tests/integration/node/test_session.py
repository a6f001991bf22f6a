"""A session with everything in it, on a real NATS server."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bench.mock_engine import MockEngine
from bench.mock_options import Options
from tests.integration.node.conftest import external
from tests.parts.credentials import NODE, REGION
from tests.parts.full_disk import full_disk
from tests.parts.job_caller import Caller, until
from tests.parts.nats import NatsProcess, two_free_ports

from garage_ai.network.authority import Authority
from garage_ai.node.control import SOCKET, ask_agent
from garage_ai.node.engines.link import socket_path
from garage_ai.node.engines.port import Engine
from garage_ai.node.events import Event, Link
from garage_ai.node.folder import NodeFolder, Record
from garage_ai.node.session import NodeSession
from garage_ai.node.signals import Signals
from garage_ai.wire import subjects
from garage_ai.wire.claims import decode
from garage_ai.wire.connection import Connection, connect
from garage_ai.wire.frames import End
from garage_ai.wire.messages import Renewed

pytestmark = pytest.mark.anyio

PLAIN = b'{"model":"garage-chat","messages":[{"role":"user","content":"hi"}],"max_tokens":4}'
STREAM = PLAIN.replace(b"{", b'{"stream":true,', 1)
LIFE = 12
"""Seconds; renewal is due after four."""


class Node:
    """A folder with an identity, and the session that runs from it."""

    def __init__(self, path: Path, authority: Authority, url: str, *, life: int = 600) -> None:
        self.folder = NodeFolder(path)
        self.folder.prepare()
        self.authority = authority
        self.key = self.folder.identity.create().public_key
        self.folder.identity.save_jwt(authority.node_jwt(NODE, self.key, REGION, life=life))
        self.record = Record(
            node=NODE,
            member="mbr_1",
            name="rig",
            region=REGION,
            gateway="http://127.0.0.1:1",
            urls=(url,),
        )
        self.folder.save(self.record)
        self.signals = Signals()
        self.told: list[Event] = []
        self.session: NodeSession | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, mock: MockEngine) -> NodeSession:
        """Begin the session with a mock engine."""
        return self.start_with(external(mock))

    def start_with(self, engine: Engine) -> NodeSession:
        """Begin the session with any engine."""
        self.session = NodeSession(
            self.folder, self.record, engine, self.told.append, calm_seconds=0.1
        )
        self._task = asyncio.create_task(self.session.run(self.signals))
        return self.session

    async def stop(self) -> None:
        """End it as SIGTERM does."""
        self.signals.received()
        self.signals.received()
        if self._task is not None:
            await asyncio.wait_for(self._task, 30)

    @property
    def links(self) -> int:
        """How often it has connected."""
        return sum(isinstance(event, Link) and not event.error for event in self.told)


@pytest.fixture
async def gateway(
    nats: NatsProcess, authority: Authority
) -> AsyncIterator[tuple[Caller, Connection]]:
    """A gateway and its link."""
    caller = Caller(NODE)
    link = await connect(
        [nats.tcp_url],
        credentials=authority.gateway_credentials(caller.gateway),
        name="gateway",
        give_up_after=10,
    )
    await caller.start(link)
    yield caller, link
    await link.close()


async def test_renews_its_jwt_without_losing_an_answer(
    nats: NatsProcess,
    authority: Authority,
    gateway: tuple[Caller, Connection],
    mock: MockEngine,
    tmp_path: Path,
) -> None:
    """In good time it asks, keeps the new JWT, and connects anew once nothing runs."""
    caller, link = gateway
    node = Node(tmp_path / "node", authority, nats.tcp_url, life=LIFE)
    fresh = authority.node_jwt(NODE, node.key, REGION, life=600)
    asked = asyncio.Event()

    def renew(_: object) -> None:
        caller.control(Renewed(fresh))
        asked.set()

    await link.subscribe(subjects.ALL_RENEWALS, renew)
    session = node.start(mock)
    try:
        await caller.ready()
        mock.options = Options(first_byte_delay=1.0)
        await asyncio.wait_for(asked.wait(), 20)
        call = caller.call("a1", PLAIN)
        assert isinstance((await call.over()).last, End)
        await until(lambda: node.links == 2)
        assert node.folder.identity.load_jwt() == fresh
        await until(lambda: session.status().link.state == "connected")
        assert not any(isinstance(event, Link) and event.error for event in node.told)
        assert isinstance((await caller.call("a2", PLAIN).over()).last, End)
    finally:
        await node.stop()


async def test_a_node_that_is_never_idle_drains_before_its_jwt_ends(
    nats: NatsProcess,
    authority: Authority,
    gateway: tuple[Caller, Connection],
    mock: MockEngine,
    tmp_path: Path,
) -> None:
    """It has the new one for days by then; the server would cut what runs off at the old one's end.

    As long as there is time, it goes on to take work.
    """
    caller, link = gateway
    node = Node(tmp_path / "node", authority, nats.tcp_url, life=600)
    begun = decode(node.folder.identity.load_jwt(), issuers=None).iat
    fresh = authority.node_jwt(NODE, node.key, REGION, life=600)
    await link.subscribe(subjects.ALL_RENEWALS, lambda _: caller.control(Renewed(fresh)))
    mock.options = Options(stall_after=2)
    session = node.start(mock)
    now = float(begun)
    session._keeper._clock = lambda: now
    try:
        await caller.ready()
        held = await caller.call("a1", STREAM, stream=True).until(lambda call: call.body != b"")
        now = begun + 0.8 * 600
        await until(lambda: node.folder.identity.load_jwt() == fresh)
        await until(lambda: session._fresh)
        assert (session.agent.core.state, node.links) == ("ready", 1)
        now = begun + 0.97 * 600
        await caller.beat(lambda beat: beat.state == "draining")
        assert (held.last, node.links) == (None, 1)
        held.cancel()
        await until(lambda: node.links == 2)
        await caller.ready()
    finally:
        await node.stop()


async def test_it_goes_where_the_network_is_also_with_a_full_disk(
    nats: NatsProcess,
    authority: Authority,
    mock: MockEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """New addresses that cannot be kept are dialled while the agent lives."""
    nowhere = f"nats://127.0.0.1:{two_free_ports()[0]}"
    node = Node(tmp_path / "node", authority, nowhere)
    session = node.start(mock)
    try:
        with full_disk(monkeypatch):
            session._move([nats.tcp_url])
        await until(lambda: node.links == 1)
        assert node.folder.load().urls == (nowhere,)
    finally:
        await node.stop()


async def test_the_owner_speaks_to_it(
    nats: NatsProcess,
    authority: Authority,
    gateway: tuple[Caller, Connection],
    mock: MockEngine,
    tmp_path: Path,
) -> None:
    """Status, pause and resume go over a socket that works at any depth of folders."""
    caller, _ = gateway
    deep = tmp_path.joinpath(*["a-folder-with-quite-a-long-name"] * 5)
    node = Node(deep, authority, nats.tcp_url)
    node.start(mock)
    try:
        await caller.ready()
        run = node.folder.run
        status = await asyncio.to_thread(ask_agent, run, "status")
        assert (status.node, status.state, status.link.state) == (NODE, "ready", "connected")
        assert (run / "agent.sock").stat().st_mode & 0o777 == 0o600
        assert (await asyncio.to_thread(ask_agent, run, "pause")).state == "paused"
        await caller.beat(lambda beat: beat.state == "paused", 4)
        assert node.folder.paused
        assert (await asyncio.to_thread(ask_agent, run, "resume")).state == "ready"
        assert not node.folder.paused
        handle = os.open(run, os.O_PATH)
        reader, writer = await asyncio.open_unix_connection(socket_path(handle, SOCKET))
        os.close(handle)
        writer.write(b'{"op":"dance"}\n')
        assert b"not understood" in await asyncio.wait_for(reader.readline(), 20)
        writer.close()
        await writer.wait_closed()
    finally:
        await node.stop()
    assert not (node.folder.run / "agent.sock").exists()


async def test_tries_for_ever_where_nobody_answers(
    authority: Authority, mock: MockEngine, tmp_path: Path
) -> None:
    """Without a network it says so and goes on; asked to stop, it stops."""
    port, _ = two_free_ports()
    node = Node(tmp_path / "node", authority, f"nats://127.0.0.1:{port}")
    session = node.start(mock)
    try:
        await until(lambda: session.status().link.error)
        assert f":{port}" in str(session.status().link.error)
        assert session.status().link.state == "connecting"
    finally:
        await node.stop()
