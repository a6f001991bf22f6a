"""A real vLLM over two PCs of one LAN, through their encrypted tunnel, as one node of a network."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from tests.parts.hosts import Host, lan
from tests.parts.product import Product
from tests.parts.program import GAI, Program, at_home
from tests.parts.real_vllm import DIVISIBLE, RealVllm, divisible_model, real_vllm
from tests.parts.waiting import eventually

from garage_ai.node.control import ask_agent
from garage_ai.node.engines.vllm_options import MARK
from garage_ai.node.errors import NodeError
from garage_ai.node.status import Status

# A clean machine installs vLLM first, and each of its starts takes a minute or more.
pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.timeout(2400)]

FORM_SECONDS = 700.0
FREED_SECONDS = 10.0
"""Promised between the end of one rig and free cards on the other."""


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
            timeout=120,
            check=False,
        )
        # The doctor ends with 1 where anything is amiss, as it is on a PC without a card.
        assert done.returncode == 0 or ("doctor" in words and done.stdout), done.stderr
        return done.stdout

    def join(self, vllm: RealVllm, model: Path) -> None:
        """Lend it, for the first time."""
        token = self.product.token(bare_allowed=True)
        how = ["node", "join", self.product.url, token, "--engine", "vllm", "--sandbox", "none"]
        how += ["--vllm-python", str(vllm.python), "--model", str(model), "--slots", "2"]
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
        """What `gai node status` shows."""
        return ask_agent(self.data / "run", "status")

    def is_up(self) -> bool:
        """Whether its agent answers its owner."""
        try:
            return bool(self.status.node)
        except NodeError:
            return False

    def processes(self) -> list[psutil.Process]:
        """All processes of its part, by the mark that they inherit."""
        mark = f"{MARK}={self.data / 'run'}".encode()
        return [each for each in psutil.process_iter() if mark in _environment(each.pid)]

    def story(self) -> str:
        """What to read when a test failed."""
        log = self.data / "logs" / "engine.log"
        said = log.read_text("utf-8", "replace")[-3000:] if log.exists() else ""
        return f"--- {self.host.name}\n{self.program.tail()}\n{said}"


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


@pytest.fixture
def rigs(tmp_path: Path) -> Iterator[tuple[Rig, Rig]]:
    """Two PCs in one group, with its own network, that have joined a network and serve nothing."""
    vllm = real_vllm()
    model = divisible_model(vllm)
    with ExitStack() as stack:
        machine, hosts = stack.enter_context(lan(2))
        product = Product(tmp_path / "network", "--no-node", "--public", machine)
        stack.callback(product.stop)
        product.start()
        cores = sorted(os.sched_getaffinity(0))
        one, other = (
            Rig(tmp_path / host.name, host, core, product)
            for host, core in zip(hosts, (cores[0], cores[-1]), strict=True)
        )
        create = ("group", "create", "--listen", hosts[0].address, "--peer", hosts[1].address)
        join = ("group", "join", "--listen", hosts[1].address, "--peer", hosts[0].address)
        other.gai(*join, stdin=one.gai(*create))
        for rig in (one, other):
            rig.join(vllm, model)
            stack.callback(rig.program.end_all)
            eventually("an identity", (rig.data / "identity.json").exists, 60)
            told = json.loads(rig.gai("node", "doctor", "--fix", "--json"))
            stack.callback(_end_tunnel, rig.host, told["tunnel"])
        for rig in (one, other):
            # Each asks its vLLM first what it is, which loads all of PyTorch.
            eventually("an agent", rig.is_up, 300)
        yield one, other
        for rig in (one, other):
            rig.program.end_all()
        eventually("the end of vLLM", lambda: not (one.processes() or other.processes()), 20)


def _end_tunnel(host: Host, name: str) -> None:
    subprocess.run([*host.inside, "ip", "link", "del", name], capture_output=True, check=False)


def test_two_rigs_are_one_node(rigs: tuple[Rig, Rig]) -> None:
    """They answer chat together; one that dies frees the other, and is one with it once back."""
    product = rigs[0].product
    _serves(product, rigs)
    first = product.http.chat(DIVISIBLE, "Hej", max_tokens=8, temperature=0)
    assert first.status == 200, first.body
    leader, follower = sorted(rigs, key=lambda rig: rig.status.node)
    assert first.headers["x-gai-node"] == leader.status.node
    assert follower.status.models == ()
    assert follower.status.engine.reason.startswith("grouped")
    assert follower.processes()
    group = leader.status.group
    assert group is not None
    assert (group.phase, [link.node for link in group.links]) == ("serving", [follower.status.node])
    with product.http.stream(DIVISIBLE, "Hej", max_tokens=8, temperature=0) as stream:
        assert stream.rest().text == first.text

    os.kill(follower.status.pid, signal.SIGKILL)
    died_at = time.monotonic()
    eventually("the other one's cards", lambda: not leader.processes(), FREED_SECONDS)
    assert time.monotonic() - died_at < FREED_SECONDS
    answer = product.http.chat(DIVISIBLE, "Hej", max_tokens=1)
    assert answer.status in (404, 503), answer.body

    follower.program.end_all()
    follower.run()
    eventually("the agent that is back", follower.is_up, 300)
    _serves(product, rigs)
    again = product.http.chat(DIVISIBLE, "Hej", max_tokens=8, temperature=0)
    assert (again.status, again.text) == (200, first.text)


def _serves(product: Product, rigs: tuple[Rig, Rig]) -> None:
    def answers() -> bool:
        return any(rig.status.engine.state == "ready" and rig.status.models for rig in rigs)

    try:
        eventually("a gang", lambda: any(rig.status.models for rig in rigs), 90)
        eventually("an engine over both", answers, FORM_SECONDS)
        eventually("an answer", lambda: product.http.chat(DIVISIBLE, max_tokens=1).status == 200)
    except AssertionError as error:
        story = "\n".join(rig.story() for rig in rigs)
        raise AssertionError(f"{error}\n{story}") from None
