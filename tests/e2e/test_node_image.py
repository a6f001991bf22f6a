"""The node's image, run for real: Podman in Podman, behind a home router, as its page says."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from tests.parts.guest import BASE, PROBE
from tests.parts.hosts import Host, home_network
from tests.parts.node_image import ENGINE, USER, NodeImage, node_image
from tests.parts.product import Product
from tests.parts.program import Program
from tests.parts.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

MODEL = "smollm2-135m-instruct"
AS_USER = "mkdir -m 700 $XDG_RUNTIME_DIR && exec setpriv --ambient-caps -all --inh-caps -all "
PYTHON = "/opt/garage-ai/.venv/bin/python"
REACH = """
import socket, sys
for place in sys.argv[1:]:
    socket.create_connection(place.split(":"), 5).close()
"""
SETID = (1 << 6) | (1 << 7)
"""CAP_SETGID and CAP_SETUID, capabilities(7)."""


@dataclass
class Rig:
    """A network on this machine, and a container in somebody's home that may join it."""

    product: Product
    host: Host
    image: NodeImage
    agent: Program | None = None

    def run(self, *words: str) -> Program:
        """Start the container."""
        self.agent = self.image.start(*words, "--threads", "1", "--slots", "2")
        return self.agent

    def serving(self) -> Program:
        """Have a container that serves, whatever the test before has left."""
        if self.agent is None or self.agent.ended is not None:
            self.run("run")
        self.product.serves(MODEL, 60)
        assert self.agent is not None
        return self.agent


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, debian_archive: Path) -> Iterator[Rig]:
    """Build the image, start the network; the engine's base is there, nobody has joined yet."""
    with ExitStack() as stack:
        stack.enter_context(node_image(tmp_path_factory.mktemp("storage"), debian_archive))
        host = stack.enter_context(home_network())
        folder = tmp_path_factory.mktemp("node-image")
        product = Product(folder, "--no-node", "--public", host.public)
        stack.callback(product.stop)
        product.start()
        image = NodeImage(folder, host)
        stack.callback(image.remove)
        bare = ["--entrypoint=sh"]
        image.well("-c", f"{AS_USER} podman import - {BASE}", options=bare, stdin=debian_archive)
        image.well("image", "--base", BASE)
        yield Rig(product, host, image)


@pytest.fixture(autouse=True)
def no_container_is_left(rig: Rig) -> Iterator[None]:
    """End a test's container with the test."""
    yield
    if rig.agent is not None and rig.agent.ended is None:
        rig.agent.stop(40)


def test_it_joins_serves_and_is_fenced_in_twice(rig: Rig) -> None:
    """Over TLS, from behind a router; its limits hold, so no administrator has to let it in."""
    rig.run("join", rig.product.url, rig.product.token())
    rig.product.serves(MODEL, 90)
    answer = rig.product.http.chat(MODEL, "Say hello.", max_tokens=8)
    assert answer.json()["choices"][0]["message"]["content"]
    assert answer.headers["x-gai-trust"] == "unverified"
    (node,) = rig.product.nodes()
    assert (node["sandbox"], node["limits"]) == ("podman", True)
    assert (node["id"], node["bare_allowed"]) == (answer.headers["x-gai-node"], False)
    _a_probe_in_the_inner_container_gets_nowhere(rig)
    _the_outer_container_is_a_fence_too(rig)
    _doctor_finds_it_fit_and_says_what_it_does_not_see(rig)
    _memory_in_there_ends_at_the_outer_limit(rig)


def _a_probe_in_the_inner_container_gets_nowhere(rig: Rig) -> None:
    """Neither to the PC nor to what the agent itself reaches and reads."""
    folder = "/home/gai/.local/share/garage-ai"
    paths = [f"{folder}/identity.json", f"{folder}/node.nk"]
    places = [f"{rig.host.public}:{rig.product.port}", f"{rig.host.public}:{rig.product.nats_port}"]
    rig.image.inside(PYTHON, "-c", REACH, *places)
    for path in paths:
        rig.image.inside("cat", path)
    found = json.loads(rig.image.inside(PYTHON, "-c", PROBE, folder, *paths, *places))
    assert [each for each in found if not each["held"]] == []
    names = {each["name"] for each in found}
    assert {f"open {path}" for path in paths} <= names
    assert {f"connect to {place}" for place in places} <= names
    assert len(found) > 35


def status(process: psutil.Process) -> dict[str, str]:
    """Read what the kernel says of a process, proc_pid_status(5)."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return {name: text.strip() for name, _, text in (line.partition(":") for line in lines)}


def _the_outer_container_is_a_fence_too(rig: Rig) -> None:
    """Nobody in it is root or the PC's, or has rights; the engine is behind both filters."""
    running = rig.image.processes()
    users = {each.uids().real for each in running}
    assert users == {USER, ENGINE}
    agent = next(
        status(each) for each in running if any(w.endswith("/gai") for w in each.cmdline())
    )
    assert int(agent["CapEff"], 16) == 0
    assert int(agent["CapBnd"], 16) == SETID
    engine = next(status(each) for each in running if each.uids().real == ENGINE)
    assert (int(engine["CapBnd"], 16), engine["NoNewPrivs"]) == (0, "1")
    assert int(engine["Seccomp_filters"]) == int(agent["Seccomp_filters"]) + 1
    shut = "! touch /etc/x 2>/dev/null && ! find / -xdev -perm /6000 -type f | grep ."
    rig.image.inside("sh", "-c", shut)


def _doctor_finds_it_fit_and_says_what_it_does_not_see(rig: Rig) -> None:
    """Nothing fails; the owner is told that games are not noticed from in there."""
    report = json.loads(rig.image.inside("gai", "node", "doctor", "--json"))
    told = {each["check"]: (each["state"], each["case"]) for each in report["findings"]}
    assert told["os"] == ("warn", "container")
    assert told["cgroup"] == ("ok", "outer")
    assert "fail" not in {state for state, _ in told.values()}
    shown = json.loads(rig.image.inside("gai", "node", "status", "--json"))
    (card,) = [each for each in shown["guard"]["signals"] if each["signal"] == "gpu"]
    assert (card["verdict"], "container" in card["why"]["en"]) == ("unknown", True)


def _memory_in_there_ends_at_the_outer_limit(rig: Rig) -> None:
    """Who takes more is killed, and the node goes on."""
    agent = rig.agent
    assert agent is not None
    greedy = "x = [b'x' * (64 << 20) for _ in range(40)]"
    with pytest.raises(AssertionError):
        rig.image.inside("python3", "-c", greedy)
    assert agent.ended is None
    rig.product.serves(MODEL, 30)


def test_a_killed_container_leaves_nothing_and_comes_back(rig: Rig) -> None:
    """Kill -9 of it: no process of it is left, whoever started it; the next one serves again."""
    agent = rig.serving()
    assert len(rig.image.processes()) > 3
    rig.image.kill()
    eventually("the end of all in it", lambda: not rig.image.processes(), 30)
    eventually("the container's end", lambda: not rig.image.runs, 90)
    eventually("the end of the command that ran it", lambda: agent.ended is not None, 20)
    _a_stopped_container_ends_by_itself(rig)


def _a_stopped_container_ends_by_itself(rig: Rig) -> None:
    """SIGTERM, as `docker stop` sends it: the agent leaves the network and nothing is left."""
    assert rig.serving().stop(30) == 0
    eventually("the end of all in it", lambda: not rig.image.processes(), 20)
