"""Rigs of one group on one loopback: their real engines and links, a server in vLLM's place."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from bench.processes import free_ports
from tests.parts import fake_vllm

from garage_ai.node.engines.launch import Launcher
from garage_ai.node.engines.vllm import Patience
from garage_ai.node.engines.vllm_options import Lent, VllmOptions
from garage_ai.node.group.engine import GroupEngine
from garage_ai.node.group.errors import NoTunnel
from garage_ai.node.group.folder import GroupChoice, HostPort
from garage_ai.node.group.lending import Lending, Look
from garage_ai.node.group.messages import TunnelEnd, Wished
from garage_ai.node.group.planning import Divide, gang_planner
from garage_ai.node.group.seat import Seat
from garage_ai.node.group.tunnel import Tunnel, TunnelKeeper
from garage_ai.wire.ids import Digest, NodeId
from garage_ai.wire.nkey import KeyPair, Role

DIGEST = Digest("sha256:" + "b" * 64)
A, B = NodeId("a"), NodeId("b")
QUICK = Patience(token=2, idle=0.5, look=0.2, misses=50)


class NoTunnelAtAll(TunnelKeeper):
    """A network that is there already: both rigs are on one loopback."""

    def __init__(self, tunnel: Tunnel, choice: GroupChoice) -> None:
        super().__init__(tunnel, choice)
        self.admitted: list[Sequence[TunnelEnd]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.refuses = False

    async def is_there(self) -> bool:
        return True

    async def admit(self, peers: Sequence[TunnelEnd]) -> None:
        self.admitted.append(peers)
        await self.open.wait()
        if self.refuses:
            raise NoTunnel("no such interface")


class Party:
    """A rig: its engine, its network, and its vLLM; on the processor unless it lends cards."""

    def __init__(
        self,
        home: Path,
        me: NodeId,
        places: tuple[HostPort, HostPort],
        divide: Divide,
        *,
        launcher: Launcher | None = None,
        wish: Wished | None = None,
        lent: Lent | None = None,
        look: Look | None = None,
        patience: Patience = QUICK,
    ) -> None:
        self.key = KeyPair.generate(Role.USER)
        self.vllm = home / "env"
        self.run = home / "run"
        fake_vllm.make_python(self.vllm, mock={"chunks": 4})
        self.options = VllmOptions(
            python=self.vllm / "python",
            folder=home,
            name="small",
            digest=DIGEST,
            kind="chat",
            slots=2,
            context=512,
            cache_gib=None if lent else 1,
            memory_share=0.9 if lent else None,
            lent=lent,
        )
        choice = GroupChoice("garage", places[me == B], places)
        address = "10.213.0.2" if me == B else "10.213.0.1"
        self.tunnel = NoTunnelAtAll(Tunnel(f"gai{me}", address), choice)
        self.engine = GroupEngine(
            Seat(me, choice, b"s" * 32, self.sign, wish or Wished()),
            Lending(self.options, look),
            gang_planner(DIGEST, divide),
            self.tunnel,
            run=self.run,
            logs=home / "logs",
            launcher=launcher,
            patience=patience,
        )

    def sign(self, text: bytes) -> bytes:
        """Sign with the key it has now."""
        return self.key.sign(text)

    @property
    def has_run(self) -> bool:
        """Whether its vLLM was ever started."""
        return (self.vllm / "started.json").exists()

    @property
    def argv(self) -> list[str]:
        """The newest command line of its vLLM."""
        argv: list[str] = fake_vllm.started(self.vllm)["argv"]
        return argv

    @property
    def environment(self) -> dict[str, str]:
        """What its vLLM was started with beside that."""
        found: dict[str, str] = fake_vllm.started(self.vllm)["environment"]
        return found

    def said(self, option: str) -> str:
        """What an option was given."""
        return self.argv[self.argv.index(option) + 1]


def free_places() -> tuple[HostPort, HostPort]:
    """Give two addresses that nobody listens at."""
    first = free_ports(2)
    return HostPort("127.0.0.1", first), HostPort("127.0.0.1", first + 1)


__all__ = ["DIGEST", "QUICK", "A", "B", "NoTunnelAtAll", "Party", "free_places"]
