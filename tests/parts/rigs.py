"""PCs of one LAN that are a group: real agents, each in a network namespace, and their tunnel."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from tests.parts.hosts import Host, lan
from tests.parts.product import Product
from tests.parts.program import GAI, Program, at_home
from tests.parts.waiting import eventually

from garage_ai.node.control import ask_agent
from garage_ai.node.engines.vllm_options import MARK
from garage_ai.node.errors import NodeError
from garage_ai.node.status import Status

FREED_SECONDS = 20.0  # it is 10, and a busy machine takes its time
"""Seconds between the end of one rig, or of what is between them, and free cards."""


class Rig:
    """A PC of the group, in a network namespace of its own and on one core."""

    def __init__(self, folder: Path, host: Host, core: int, product: Product) -> None:
        self.host = host
        # Two ranks that compute on the same cores wait for each other, turn by turn.
        self.inside = (*host.inside, "taskset", "--cpu-list", str(core))
        self.data = folder / "node"
        self.folder = folder
        self.product = product
        self.environment = at_home(folder)
        folder.mkdir()

    def gai(self, *words: str, stdin: str = "") -> str:
        """Run a command there, and give what it prints."""
        argv = [*self.inside, str(GAI), *words, "--data-dir", str(self.data)]
        done = subprocess.run(
            argv,
            input=stdin,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        # The doctor ends with 1 where anything is amiss, as it is on a PC without a card.
        assert done.returncode == 0 or ("doctor" in words and done.stdout), done.stderr
        return done.stdout

    def join(self, python: Path, model: Path) -> None:
        """Lend it, for the first time."""
        token = self.product.token(bare_allowed=True)
        how = ["node", "join", self.product.url, token, "--engine", "vllm", "--sandbox", "none"]
        how += ["--vllm-python", str(python), "--model", str(model), "--slots", "2"]
        how += ["--context", "512", "--kv-cache-gib", "1", "--threads", "1"]
        self._begin([*how, "--tensor-parallel", "2"])

    def run(self) -> None:
        """Lend it again."""
        self._begin(["node", "run"])

    def _begin(self, words: list[str]) -> None:
        argv = [*self.inside, str(GAI), *words, "--data-dir", str(self.data)]
        self.program = Program("rig", argv, self.folder, self.environment)

    @property
    def status(self) -> Status:
        """What `gai node status` shows; an agent too busy to say is asked again."""
        said = eventually(f"a word of {self.host.name}", self._said)
        assert said is not None
        return said

    def is_up(self) -> bool:
        """Whether its agent answers its owner."""
        said = self._said()
        return said is not None and bool(said.node)

    def leads(self, *, ready: bool = False) -> bool:
        """Whether it answers for the group; an agent too busy to say is asked again later."""
        said = self._said()
        return (
            said is not None and bool(said.models) and (not ready or said.engine.state == "ready")
        )

    def _said(self) -> Status | None:
        try:
            return ask_agent(self.data / "run", "status")
        except NodeError:
            return None

    def processes(self) -> list[psutil.Process]:
        """All processes of its part, by the mark that they inherit."""
        mark = f"{MARK}={self.data / 'run'}".encode()
        return [each for each in psutil.process_iter() if mark in _environment(each.pid)]

    def story(self) -> str:
        """What to read when a test failed."""
        log = self.data / "logs" / "engine.log"
        said = log.read_text("utf-8", "replace")[-3000:] if log.exists() else ""
        return f"--- {self.host.name}\n{self.program.tail()}\n{said}"


class Group:
    """Two rigs in one group, with its own network, that have joined a network of nodes."""

    def __init__(self, product: Product, rigs: tuple[Rig, Rig], model: str) -> None:
        self.product = product
        self.rigs = rigs
        self.model = model

    def forms(self, seconds: float) -> tuple[Rig, Rig]:
        """Wait until both serve as one node; give who leads, and who follows."""
        try:
            eventually("a gang", lambda: any(rig.leads() for rig in self.rigs), 90)
            eventually("an engine over both", self._leader, seconds)
            self.product.serves(self.model)
            leader = eventually("who leads", self._leader)
        except AssertionError as error:
            story = "\n".join(rig.story() for rig in self.rigs)
            raise AssertionError(f"{error}\n{story}") from None
        one, other = self.rigs
        return (one, other) if leader is one else (other, one)

    def lets_go(self) -> None:
        """See that nothing of the gang runs on either rig any more, as soon as is promised."""
        eventually("free cards", lambda: not self.processes(), FREED_SECONDS)

    def comes_back(self, rig: Rig) -> None:
        """Start the agent of a rig that died."""
        rig.program.end_all()
        rig.run()
        eventually("the agent that is back", rig.is_up, 300)

    def processes(self) -> list[psutil.Process]:
        """All of the gang that runs."""
        return [each for rig in self.rigs for each in rig.processes()]

    def _leader(self) -> Rig | None:
        return next((rig for rig in self.rigs if rig.leads(ready=True)), None)


@contextmanager
def group_of_two(folder: Path, python: Callable[[Path], Path], model: Path) -> Iterator[Group]:
    """Make it on a network of its own; `python` gives a rig's Python with vLLM, from its folder."""
    with ExitStack() as stack:
        machine, hosts = stack.enter_context(lan(2))
        product = Product(folder / "network", "--no-node", "--public", machine)
        stack.callback(product.stop)
        product.start(240)
        cores = sorted(os.sched_getaffinity(0))
        one, other = (
            Rig(folder / host.name, host, core, product)
            for host, core in zip(hosts, (cores[0], cores[-1]), strict=True)
        )
        group = Group(product, (one, other), model.name)
        create = ("group", "create", "--listen", hosts[0].address, "--peer", hosts[1].address)
        join = ("group", "join", "--listen", hosts[1].address, "--peer", hosts[0].address)
        other.gai(*join, stdin=one.gai(*create))
        for rig in (one, other):
            rig.join(python(rig.folder), model)
            stack.callback(rig.program.end_all)
            eventually("an identity", (rig.data / "identity.json").exists, 240)
            told = json.loads(rig.gai("node", "doctor", "--fix", "--json"))
            stack.callback(_end_tunnel, rig.host, told["tunnel"])
        for rig in (one, other):
            # Each asks its vLLM first what it is, which loads all of PyTorch.
            eventually("an agent", rig.is_up, 300)
        yield group
        for rig in (one, other):
            rig.program.end_all()
        eventually("the end of vLLM", lambda: not group.processes(), 20)


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _end_tunnel(host: Host, name: str) -> None:
    subprocess.run([*host.inside, "ip", "link", "del", name], capture_output=True, check=False)


__all__ = ["FREED_SECONDS", "Group", "Rig", "group_of_two"]
