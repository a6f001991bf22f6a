"""A node takes another key: real books, and a real NATS server that cuts the old one off."""

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from bench.mock_engine import MockEngine
from bench.mock_options import Options
from tests.integration.node.conftest import MakeMock, external
from tests.parts.edge import Edge, running_edge
from tests.parts.job_caller import Caller, until
from tests.parts.nats import NatsProcess
from tests.parts.program import GAI, Program, at_home

from garage_ai.network.authority import Authority
from garage_ai.network.claims_push import ClaimsPusher
from garage_ai.node.control import ask_agent
from garage_ai.node.errors import AlreadyRunning, GatewayAway, NotEnrolled, Removed
from garage_ai.node.events import Event, Link
from garage_ai.node.folder import Choice, NodeFolder, Record
from garage_ai.node.gateway_client import GatewayClient, GatewayRefused
from garage_ai.node.join import join
from garage_ai.node.leaving import leave
from garage_ai.node.rotation import begun, rotate, rotate_alone
from garage_ai.node.session import NodeSession
from garage_ai.node.signals import Signals
from garage_ai.wire.connection import connect
from garage_ai.wire.frames import End
from garage_ai.wire.identity import IdentityFolder, NodeIdentity
from garage_ai.wire.link_errors import Refused

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PLAIN = b'{"model":"mock","messages":[{"role":"user","content":"hi"}],"max_tokens":4}'


class Killed(BaseException):
    """The process ended here."""


class OldCredentials:
    """Key and JWT as they were when this was made."""

    def __init__(self, folder: IdentityFolder) -> None:
        self.identity: NodeIdentity = folder.load()
        self._jwt = folder.load_jwt()

    def jwt(self) -> str:
        return self._jwt

    def sign(self, nonce: bytes) -> bytes:
        return self.identity.sign(nonce)


class Home:
    """A node's PC, its folder enrolled already."""

    def __init__(self, edge: Edge, nats: NatsProcess, mock: MockEngine, path: Path) -> None:
        self.edge, self.nats, self.mock = edge, nats, mock
        self.path = path
        self.folder = NodeFolder(path / "node")
        self.told: list[Event] = []
        self.signals = Signals()
        self._task: asyncio.Task[None] | None = None

    async def join(self) -> None:
        """Enrol."""
        made = await self.edge.services.tokens.create(region="SE-AB")
        assert made.secret is not None
        choice = Choice(engine="external", engine_url=self.mock.url, models=("mock",))
        await join(
            self.edge.url,
            made.secret,
            self.folder,
            choice=choice,
            name="rig",
            tell=self.told.append,
        )
        self.old = OldCredentials(self.folder.identity)

    @property
    def record(self) -> Record:
        return self.folder.load()

    def start(self) -> NodeSession:
        """Begin to serve."""
        session = NodeSession(
            self.folder, self.record, external(self.mock), self.told.append, calm_seconds=0.1
        )
        self._task = asyncio.create_task(session.run(self.signals))
        return session

    async def stop(self) -> None:
        """End it as two SIGTERMs do."""
        self.signals.received()
        self.signals.received()
        if self._task is not None:
            await asyncio.wait_for(self._task, 30)

    async def type(self, *argv: str) -> tuple[int, str]:
        """Type a command of `gai node` and wait for its end."""
        words: list[str | Path] = [GAI, "node", *argv, "--data-dir", self.folder.path]
        program = Program("typed", words, self.path, at_home(self.path))
        try:
            await until(lambda: program.ended is not None, 30)
        finally:
            program.stop()
        return program.process.returncode, program.output()

    @property
    def lost(self) -> list[Event]:
        """What was told of a link that went down."""
        return [each for each in self.told if isinstance(each, Link) and each.error]

    @property
    def rotated(self) -> bool:
        """Whether another key is in force, and nothing is left over."""
        key = self.folder.identity.load().public_key
        return key != self.old.identity.public_key and not begun(self.folder.identity)

    async def old_is_refused(self) -> None:
        """Check that neither server nor gateway takes the old key any more."""
        with pytest.raises(Refused):
            await connect([self.nats.tcp_url], credentials=self.old, name="old", give_up_after=2)
        async with GatewayClient(self.edge.url) as client:
            with pytest.raises(GatewayRefused):
                await client.renew(self.old.identity, self.record.node)


@pytest.fixture
async def home(
    tmp_path: Path, nats: NatsProcess, authority: Authority, make_mock: MakeMock
) -> AsyncIterator[Home]:
    """A node of a network whose servers hear at once of keys that were cut off."""
    async with running_edge(tmp_path, nats_urls=[nats.tcp_url]) as edge:
        edge.revoker.real = ClaimsPusher(authority, [nats.tcp_url])
        (tmp_path / "home").mkdir()
        made = Home(edge, nats, await make_mock(Options(models="mock")), tmp_path / "home")
        await made.join()
        yield made
        await made.stop()


@pytest.fixture
async def caller(home: Home, authority: Authority) -> AsyncIterator[Caller]:
    """A gateway that calls the node."""
    caller = Caller(home.record.node)
    link = await connect(
        [home.nats.tcp_url],
        credentials=authority.gateway_credentials(caller.gateway),
        name="gateway",
        give_up_after=10,
    )
    await caller.start(link)
    yield caller
    await link.close()


async def serves(caller: Caller) -> None:
    """Check that the node answers, under the id it had before."""
    await caller.beat(lambda beat: beat.state == "ready" and beat.models[0].engine == "ready")
    assert isinstance((await caller.call("last", PLAIN).over()).last, End)


async def test_rotates_while_it_serves(home: Home, caller: Caller) -> None:
    """What runs is finished first; then the same node serves with another key, the old refused."""
    home.mock.options = Options(models="mock", first_byte_delay=3.0)
    session = home.start()
    await caller.ready()
    call = caller.call("a1", PLAIN)
    await call.until(lambda call: call.accepted)
    status = await asyncio.to_thread(ask_agent, home.folder.run, "rotate")
    assert status.rotation.state == "under_way"
    assert status.public_key == home.old.identity.public_key
    await caller.beat(lambda beat: beat.state == "draining", 20)
    assert isinstance((await call.over()).last, End)
    await until(lambda: session.status().rotation.state == "done")
    assert home.rotated
    assert session.status().public_key == home.folder.identity.load().public_key
    await until(lambda: session.status().link.state == "connected")
    home.mock.options = Options(models="mock")
    await serves(caller)
    assert not home.lost
    await home.old_is_refused()


async def test_the_command_goes_through_the_agent(home: Home, caller: Caller) -> None:
    """It waits for the agent, and gives the new key as JSON; again it gives another one."""
    home.start()
    await caller.ready()
    code, said = await home.type("rotate", "--json")
    assert code == 0, said
    told = json.loads(said)
    assert told == {
        "node": home.record.node,
        "gateway": home.edge.url,
        "public_key": home.folder.identity.load().public_key,
    }
    assert home.rotated
    await serves(caller)
    code, said = await home.type("rotate")
    assert code == 0, said
    assert told["public_key"] not in said
    assert home.folder.identity.load().public_key in said
    assert home.edge.revoker.revoked == [home.old.identity.public_key, told["public_key"]]


async def test_the_command_works_alone(home: Home, caller: Caller) -> None:
    """Without an agent the folder has another key afterwards, and serves with it."""
    code, said = await home.type("rotate")
    assert code == 0, said
    assert home.rotated
    home.start()
    await serves(caller)
    await home.old_is_refused()


def _lose_answer(patch: pytest.MonkeyPatch) -> None:
    asked = GatewayClient.rotate

    async def lost(*argv: object) -> None:
        await asked(*argv)  # type: ignore[arg-type]
        raise Killed

    patch.setattr(GatewayClient, "rotate", lost)


def _die_at(step: str) -> Callable[[pytest.MonkeyPatch], None]:
    def die(*_: object) -> None:
        raise Killed

    return lambda patch: patch.setattr(IdentityFolder, step, die)


KILLS = {
    "answer lost": _lose_answer,
    "before the jwt": _die_at("save_jwt"),
    "before the rename": _die_at("end_rotation"),
}


@pytest.fixture(params=[*KILLS, "before the gateway"])
async def cut_short(home: Home, request: pytest.FixtureRequest) -> str:
    """A rotation whose process was killed at some step; give the key it had begun with."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param in KILLS:
            KILLS[request.param](patch)
            with pytest.raises(Killed):
                await rotate_alone(home.folder)
    return home.folder.identity.begin_rotation().public_key


async def test_the_agent_ends_what_was_cut_short(
    home: Home, caller: Caller, cut_short: str
) -> None:
    """Started after a kill at any step, it takes the key begun and serves as the same node."""
    session = home.start()
    await until(lambda: session.status().rotation.state == "done", 15)
    assert home.rotated
    assert home.folder.identity.load().public_key == cut_short
    await serves(caller)
    await home.old_is_refused()


async def test_the_next_command_ends_what_was_cut_short(home: Home, cut_short: str) -> None:
    """So does rotating again: no third key is made."""
    assert (await rotate_alone(home.folder)).node == home.record.node
    assert home.rotated
    assert home.folder.identity.load().public_key == cut_short


async def test_joining_again_ends_what_was_cut_short(home: Home) -> None:
    """`gai node join` on the same folder needs no token, also with the old key refused."""
    node = home.record.node
    with pytest.MonkeyPatch.context() as patch:
        _lose_answer(patch)
        with pytest.raises(Killed):
            await rotate_alone(home.folder)
    choice = home.record.choice
    tell = home.told.append
    again = await join(home.edge.url, "", home.folder, choice=choice, name="rig", tell=tell)
    assert again.node == node
    assert home.rotated


async def test_leaving_ends_what_was_cut_short(home: Home) -> None:
    """A node that is cut off in the middle may still leave."""
    with pytest.MonkeyPatch.context() as patch:
        _lose_answer(patch)
        with pytest.raises(Killed):
            await rotate_alone(home.folder)
    node = home.record.node
    await leave(home.folder)
    assert home.edge.network.removed == [node]
    assert not begun(home.folder.identity)


async def test_a_gateway_that_is_away_costs_nothing(
    home: Home, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent says so and serves on with the old key; the command ends with status 3."""

    async def away(*_: object) -> None:
        raise GatewayAway("nobody there")

    session = home.start()
    await caller.ready()
    with monkeypatch.context() as patch:
        patch.setattr(GatewayClient, "rotate", away)
        code, said = await home.type("rotate")
    assert code == 3
    assert "nobody there" in said
    await serves(caller)
    assert session.status().public_key == home.old.identity.public_key
    assert begun(home.folder.identity)
    assert (await home.type("rotate"))[0] == 0
    assert home.rotated


async def test_cut_off_with_the_gateway_away_it_waits(
    home: Home, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old key refused and nobody to ask: no reason to give up, the new one comes later."""
    asked = GatewayClient.rotate

    async def lost(*argv: object) -> None:
        await asked(*argv)  # type: ignore[arg-type]
        raise GatewayAway("the answer was lost")

    session = home.start()
    await caller.ready()
    with monkeypatch.context() as patch:
        patch.setattr(GatewayClient, "rotate", lost)
        await asyncio.to_thread(ask_agent, home.folder.run, "rotate")
        await until(lambda: session.status().rotation.state == "failed")
        await until(lambda: session.status().link.state != "connected")
    await until(lambda: session.status().rotation.state == "done", 15)
    assert home.rotated
    await serves(caller)


@pytest.mark.parametrize("step", ["begin_rotation", "save_jwt", "end_rotation"])
async def test_on_a_full_disk_it_serves_on_or_waits(
    home: Home, caller: Caller, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The agent says what is in the way and lives on; once there is room it has the new key."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "node.key")

    session = home.start()
    await caller.ready()
    with monkeypatch.context() as patch:
        patch.setattr(IdentityFolder, step, full)
        code, said = await home.type("rotate")
        assert code == 42
        assert "node.key: No space left on device" in said
    if step == "begin_rotation":
        await serves(caller)
        assert not begun(home.folder.identity)
        await home.type("rotate")
    await until(lambda: session.status().rotation.state == "done", 30)
    assert home.rotated


async def test_a_removed_node_has_no_key_to_change(home: Home) -> None:
    """It is told that it was removed; a folder without a node, that it has none."""
    await home.edge.services.enrolment.remove(home.record.node)
    with pytest.raises(Removed, match="was removed"):
        await rotate_alone(home.folder)
    code, _ = await home.type("rotate")
    assert code == 8
    home.folder.forget()
    with pytest.raises(NotEnrolled):
        await rotate_alone(home.folder)
    assert (await home.type("rotate"))[0] == 5


async def test_a_folder_in_use_is_not_touched(home: Home) -> None:
    """Where an agent holds the folder and does not answer, nothing is done behind its back."""
    with home.folder.lock():
        with pytest.raises(AlreadyRunning):
            await rotate_alone(home.folder)
        assert (await home.type("rotate"))[0] == 6
    assert not home.rotated


async def test_a_gateway_keeps_its_word_to_the_folder(home: Home) -> None:
    """The client's request is the one the real edge takes, twice with the same keys."""
    identity = home.folder.identity
    old, new = identity.load(), identity.begin_rotation()
    async with GatewayClient(home.edge.url) as client:
        await client.rotate(old, new, home.record.node)
        await client.rotate(old, new, home.record.node)
        await rotate(identity, home.record.node, client)
    assert home.rotated
