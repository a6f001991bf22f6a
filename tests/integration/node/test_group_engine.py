"""Two rigs that run one model together, with a server that stands in for vLLM."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest
from tests.parts import fake_vllm
from tests.parts.job_caller import until

from garage_ai.node.engines.child import Child
from garage_ai.node.engines.launch import BareLauncher, Launcher, OnLine, Startable
from garage_ai.node.engines.vllm import Patience
from garage_ai.node.engines.vllm_options import VllmOptions
from garage_ai.node.errors import EngineLost
from garage_ai.node.group.engine import GroupEngine
from garage_ai.node.group.folder import GroupChoice, HostPort
from garage_ai.node.group.messages import TunnelEnd, Wished
from garage_ai.node.group.planning import Divide, Division, evenly, gang_planner
from garage_ai.node.group.seat import Seat
from garage_ai.node.group.tunnel import Tunnel, TunnelKeeper
from garage_ai.node.group.view import Grouped, GroupView
from garage_ai.node.logs import BoundedLog
from garage_ai.wire.gangs import read_document, signed_text
from garage_ai.wire.ids import Digest, NodeId
from garage_ai.wire.nkey import KeyPair, Role, verify

pytestmark = pytest.mark.anyio

DIGEST = Digest("sha256:" + "b" * 64)
A, B = NodeId("a"), NodeId("b")


class NoTunnelAtAll(TunnelKeeper):
    """A network that is there already: both rigs are on one loopback."""

    def __init__(self, tunnel: Tunnel, choice: GroupChoice) -> None:
        super().__init__(tunnel, choice)
        self.admitted: list[Sequence[TunnelEnd]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def is_there(self) -> bool:
        return True

    async def admit(self, peers: Sequence[TunnelEnd]) -> None:
        self.admitted.append(peers)
        await self.open.wait()


class Fickle(BareLauncher):
    """Fails as nobody has foreseen, while it is broken."""

    broken = True

    async def launch(
        self, what: Startable, folder: Path, log: BoundedLog, on_line: OnLine | None = None
    ) -> Child:
        if self.broken:
            raise ZeroDivisionError
        return await super().launch(what, folder, log, on_line)


class Party:
    """A rig: its engine, its network, and its vLLM."""

    def __init__(
        self,
        home: Path,
        me: NodeId,
        places: tuple[HostPort, HostPort],
        divide: Divide,
        *,
        launcher: Launcher | None = None,
        tensor: int = 2,
    ) -> None:
        self.key = KeyPair.generate(Role.USER)
        self.vllm = home / "env"
        self.run = home / "run"
        fake_vllm.make_python(self.vllm, mock={"chunks": 4})
        options = VllmOptions(
            python=self.vllm / "python",
            folder=home,
            name="small",
            digest=DIGEST,
            kind="chat",
            slots=2,
            context=512,
            cache_gib=1,
        )
        choice = GroupChoice("garage", places[me == B], places)
        address = "10.213.0.2" if me == B else "10.213.0.1"
        self.tunnel = NoTunnelAtAll(Tunnel(f"gai{me}", address), choice)
        self.engine = GroupEngine(
            Seat(me, choice, b"s" * 32, self.sign, wish=Wished(256 if me == B else 0, 0, tensor)),
            options,
            gang_planner(DIGEST, divide),
            self.tunnel,
            run=self.run,
            logs=home / "logs",
            launcher=launcher,
            patience=Patience(token=2, idle=0.5, look=0.2, misses=50),
        )

    def sign(self, text: bytes) -> bytes:
        """Sign with the key it has now."""
        return self.key.sign(text)

    @property
    def argv(self) -> list[str]:
        """The newest command line of its vLLM."""
        argv: list[str] = fake_vllm.started(self.vllm)["argv"]
        return argv

    def said(self, option: str) -> str:
        """What an option was given."""
        return self.argv[self.argv.index(option) + 1]


def free_places() -> tuple[HostPort, HostPort]:
    """Give two addresses that nobody listens at."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return HostPort(*one.getsockname()), HostPort(*other.getsockname())


@pytest.fixture
async def parties(tmp_path: Path) -> AsyncIterator[tuple[Party, Party]]:
    """Two rigs, of which none lends yet."""
    places = free_places()
    one, other = (Party(tmp_path / me, me, places, evenly) for me in (A, B))
    yield one, other
    await asyncio.gather(one.engine.stop(), other.engine.stop())


@pytest.mark.timeout(120)
async def test_two_rigs_are_one_node(parties: tuple[Party, Party]) -> None:
    """One answers for both; when a part dies both are freed, and a later gang answers again."""
    one, other = parties
    await one.engine.start()
    await until(lambda: "2 rigs are needed, and 1 are there" in one.engine.reason, seconds=20)
    await other.engine.start()
    await until(lambda: one.engine.state == "ready", seconds=40)
    (offer,) = one.engine.offers
    assert other.engine.offers == ()
    assert other.engine.reason.startswith("grouped: it computes for a")
    answer = await one.engine.ask("chat", b'{"messages":[]}', offer=offer, stream=False)
    assert answer.status == 200
    answer.close()
    with pytest.raises(EngineLost):
        await other.engine.ask("chat", b"{}", offer=offer, stream=False)

    assert [one.said("--node-rank"), other.said("--node-rank")] == ["0", "1"]
    assert ("--headless" in one.argv, "--headless" in other.argv) == (False, True)
    for party in parties:
        assert party.said("--tensor-parallel-size") == "2"
        assert party.said("--nnodes") == "2"
        # One owner's wish holds for both, as does how numbers are kept.
        assert (party.said("--max-model-len"), party.said("--dtype")) == ("256", "bfloat16")
        assert party.said("--master-addr") == "10.213.0.1"
    told = fake_vllm.started(other.vllm)["environment"]
    assert (told["VLLM_HOST_IP"], told["GLOO_SOCKET_IFNAME"]) == ("10.213.0.2", "gaib")
    (reached,) = one.tunnel.admitted[-1]
    assert reached == other.tunnel.end

    await until(lambda: all(read_document(one.engine.shares())[1].signatures), seconds=20)
    terms, document = read_document(one.engine.shares())
    assert (terms.leader, terms.digest) == (A, DIGEST)
    assert [(rig.node, rig.parts) for rig in terms.rigs] == [(A, 1), (B, 1)]
    for party, signature in zip(parties, document.signatures, strict=True):
        verify(party.key.public, Role.USER, signed_text(document.terms), signature)
    assert other.engine.shares() == b""
    other.key = KeyPair.generate(Role.USER)
    await until(lambda: read_document(one.engine.shares())[1] != document, seconds=30)
    renewed = read_document(one.engine.shares())[1]
    verify(other.key.public, Role.USER, signed_text(document.terms), renewed.signatures[1])

    view = one.engine.view()
    assert isinstance(one.engine, Grouped)
    assert msgspec.json.decode(msgspec.json.encode(view), type=GroupView) == view
    assert (view.phase, [rig.node for rig in view.members]) == ("serving", [A, B])
    assert [link.node for link in view.links] == [B]
    first = view.epoch
    await other.engine.release()
    assert not other.engine.pids
    await until(lambda: not one.engine.pids and one.engine.offers == (), seconds=20)
    await other.engine.start()
    await until(lambda: one.engine.state == "ready", seconds=60)
    assert one.engine.view().epoch > first


@pytest.mark.timeout(120)
async def test_a_rig_taken_back_before_its_part_runs(parties: tuple[Party, Party]) -> None:
    """Nothing is started for an owner who has taken his PC back while the tunnel was made ready."""
    one, other = parties
    other.tunnel.open.clear()
    await asyncio.gather(one.engine.start(), other.engine.start())
    await until(lambda: bool(other.tunnel.admitted), seconds=40)
    back = asyncio.create_task(other.engine.release())
    await until(lambda: other.engine.view().phase == "ending", seconds=20)
    other.tunnel.open.set()
    async with asyncio.timeout(20):
        await back
    assert not other.run.exists()


@pytest.mark.timeout(60)
async def test_a_gang_of_one_has_its_pipeline(tmp_path: Path) -> None:
    """Without the other rigs' ways, the model is still divided as the planner said."""
    piped = Division((A,), tensor=1, pipeline=2, layers=(5, 3))
    party = Party(tmp_path, A, free_places(), lambda _: piped)
    await party.engine.start()
    try:
        await until(lambda: party.engine.state == "ready", seconds=40)
        assert party.said("--pipeline-parallel-size") == "2"
        assert "--nnodes" not in party.argv
        told = fake_vllm.started(party.vllm)["environment"]
        assert told["VLLM_PP_LAYER_PARTITION"] == "5,3"
    finally:
        await party.engine.stop()


@pytest.mark.timeout(60)
async def test_a_part_that_breaks_as_nobody_foresaw_ends_its_gang(tmp_path: Path) -> None:
    """It does not wait for ever, lets go of the rig, and is tried again."""
    launcher = Fickle()
    party = Party(tmp_path, A, free_places(), evenly, launcher=launcher, tensor=1)
    await party.engine.start()
    try:
        await until(lambda: "the agent failed" in party.engine.reason, seconds=20)
        first = party.engine.view().epoch
        async with asyncio.timeout(20):
            await party.engine.release()
        launcher.broken = False
        await party.engine.start()
        await until(lambda: party.engine.state == "ready", seconds=40)
        assert party.engine.view().epoch > first
    finally:
        await party.engine.stop()
