"""The sandbox, run for real: rootless Podman, an ordinary user, a real engine, a whole network."""

import contextlib
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import pytest
from tests.parts.guest import BASE, PIDS, PROBE, Guest, guest
from tests.parts.places import open_places
from tests.parts.product import Product
from tests.parts.program import Program
from tests.parts.waiting import eventually

from garage_ai.node.engines.link import listener_of

pytestmark = [pytest.mark.system, pytest.mark.timeout(420)]

MODEL = "smollm2-135m-instruct"
GAME = "e2e-fenced-game"


@dataclass
class Rig:
    """A network that lets nobody in without a whole sandbox, and a volunteer's user beside it."""

    product: Product
    user: Guest
    agent: Program | None = None

    def run_agent(self, *words: str | Path) -> Program:
        """Start the agent as the user."""
        options = ["--data-dir", str(self.user.node), "--threads", "1", "--slots", "2"]
        self.agent = self.user.start("agent", *self.user.gai("node", *words, *options))
        return self.agent

    def serving(self) -> Program:
        """Have an agent that serves, whatever the test before has left."""
        if self.agent is None or self.agent.ended is not None:
            self.run_agent("run")
        self.product.serves(MODEL, 60)
        assert self.agent is not None
        return self.agent

    def node(self) -> dict[str, object]:
        """Show the node as an administrator sees it."""
        (found,) = self.product.nodes()
        return found


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, debian_archive: Path) -> Iterator[Rig]:
    """Start the network, make the user, build the engine's image; nobody has joined yet."""
    folder = tmp_path_factory.mktemp("sandbox")
    with ExitStack() as stack:
        user = stack.enter_context(guest(debian_archive))
        product = Product(folder, "--no-node")
        stack.callback(product.stop)
        product.start()
        user.well(*user.gai("node", "image", "--base", BASE, "--data-dir", user.node))
        yield Rig(product, user)


@pytest.fixture(autouse=True)
def no_agent_is_left(rig: Rig) -> Iterator[None]:
    """End a test's agent with the test."""
    yield
    if rig.agent is not None and rig.agent.ended is None:
        rig.agent.stop(20)


def test_a_node_whose_limits_do_not_hold_waits_for_an_administrator(rig: Rig) -> None:
    """Rootless on cgroup v1: it says so itself, is refused and told why; admitted, it serves."""
    rig.run_agent("join", rig.product.url, rig.product.token())
    notice = eventually("the network's refusal", lambda: "sandbox_needed" in told(rig), 60)
    assert notice
    refused = rig.node()
    assert (refused["sandbox"], refused["limits"], refused["state"]) == ("podman", False, "joining")
    assert rig.product.http.chat(MODEL).status == 503
    assert "does not enforce" in rig.agent.output() if rig.agent else False
    admitted = rig.product.http.ask("POST", f"/api/v1/nodes/{refused['id']}/admit", {})
    assert admitted.json()["bare_allowed"] is True
    rig.product.serves(MODEL, 30)
    answer = rig.product.http.chat(MODEL, "Say hello.", max_tokens=8)
    assert answer.json()["choices"][0]["message"]["content"]
    assert answer.headers["x-gai-trust"] == "unverified"
    assert answer.headers["x-gai-node"] == refused["id"]


def told(rig: Rig) -> str:
    """Give what the agent has logged and printed."""
    shown = rig.user.ask(*rig.user.gai("node", "status", "--json", "--data-dir", rig.user.node))
    return shown.stdout


def test_the_engine_is_known_by_its_socket(rig: Rig) -> None:
    """In a container it is no child of the agent; who listens is its process, seen from outside."""
    rig.serving()
    pid = listener_of(str(rig.user.node / "run" / "engine" / "engine.sock"))
    assert pid is not None
    assert any("llamacpp_server" in word for word in psutil.Process(pid).cmdline())


def test_a_container_that_answers_nobody_is_no_game(rig: Rig) -> None:
    """While an engine loads, and of a rank that only computes, the guard knows whose a card is."""
    folder = rig.user.home / "pids"
    rig.user.well("mkdir", "-p", folder)
    said = rig.user.well(rig.user.python, "-P", "-c", PIDS, folder, BASE)
    told = json.loads(said.splitlines()[-1])  # what it logs comes before
    assert told == {"engine": "free", "descends": False, "stranger": "busy"}


def test_the_owner_sees_the_very_command_that_runs(rig: Rig) -> None:
    """`gai node sandbox` shows it; Podman confirms what matters of it, and the image by its id."""
    rig.serving()
    shown = rig.user.well(*rig.user.gai("node", "sandbox", "--json", "--data-dir", rig.user.node))
    argv, image = json.loads(shown)["argv"], json.loads(shown)["image"]
    assert image in argv
    agent = rig.agent
    assert agent is not None
    commands = [each.cmdline() for each in psutil.Process(agent.pid).children(recursive=True)]
    labels = [word for word in argv if word.startswith("--label=garage-ai.agent")]
    running = next(command for command in commands if command[:1] == ["podman"])
    assert [word for word in running if not word.startswith("--label=garage-ai.agent")] == [
        word for word in argv if word not in labels
    ]
    (container,) = rig.user.containers()
    about = rig.user.inspected(container)
    assert f"sha256:{about['Image']}" == image
    host = about["HostConfig"]
    assert isinstance(host, dict)
    assert (host["NetworkMode"], host["ReadonlyRootfs"], host["Privileged"]) == (
        "none",
        True,
        False,
    )
    assert about["EffectiveCaps"] in (None, [])
    # One process waits and one serves; outside, neither has the owner's id nor anybody's.
    assert len(running_inside(rig)) == 2


def test_a_probe_gets_nowhere(rig: Rig) -> None:
    """Host, LAN, metadata, DNS, files, processes, capabilities, mounts, other weights: all shut.

    The same addresses and files are reached from outside, so that shut means shut.
    """
    rig.serving()
    other = rig.user.home / "other.gguf"
    rig.user.well("sh", "-c", f"echo weights > {other}")
    with open_places() as places:
        paths = [str(other), str(rig.user.node / "identity.json"), str(rig.user.node / "node.nk")]
        for path in paths:
            rig.user.well("cat", path)
        found = rig.user.well(rig.user.python, "-c", PROBE, rig.user.node, *paths, *places)
    findings = {each["name"]: each for each in json.loads(found)}
    assert {f"open {path}" for path in paths} <= set(findings)
    assert {f"connect to {place}" for place in places} <= set(findings)
    assert {f"ask {place}" for place in places if place[0] != "@"} <= set(findings)
    assert [each for each in findings.values() if not each["held"]] == []
    assert len(findings) > 35


def test_the_owner_can_try_it_too(rig: Rig) -> None:
    """`gai node sandbox --check` says that all holds, and exits with 0."""
    shown = rig.user.well(*rig.user.gai("node", "sandbox", "--check", "--data-dir", rig.user.node))
    assert "OPEN" not in shown
    assert shown.count("holds") > 30


def shift(rig: Rig) -> int:
    """Tell by how much the user's subordinate ids lie above the usual first ones."""
    lines = Path("/etc/subuid").read_text().splitlines()
    first = next(line.split(":")[1] for line in lines if line.startswith(f"{rig.user.name}:"))
    return int(first) - 100_000


def tag(rig: Rig) -> str:
    """Give the mark of the node's folder."""
    shown = rig.user.well(*rig.user.gai("node", "sandbox", "--json", "--data-dir", rig.user.node))
    name = next(word for word in json.loads(shown)["argv"] if word.startswith("--name="))
    return str(name).removeprefix("--name=gai-").removesuffix("-engine")


@pytest.mark.parametrize("with_client", [False, True], ids=["agent", "agent and podman"])
def test_no_container_outlives_its_agent(rig: Rig, with_client: bool) -> None:
    """Kill -9 of the agent, alone or with its podman: the container is gone within 30 s."""
    agent = rig.serving()
    (container,) = rig.user.containers()
    family = agent.family()
    clients = [each for each in family if each.name() == "podman"]
    assert clients
    for each in [psutil.Process(agent.pid), *(clients if with_client else [])]:
        each.send_signal(signal.SIGKILL)
    # As `podman ps` takes a moment itself, its container's processes are asked for besides.
    eventually("the container's end", lambda: container not in rig.user.containers(), 30)
    eventually("its processes' end", lambda: not running_inside(rig), 30)


Moment = Literal["starting", "serving", "stopping"]
MOMENTS: tuple[Moment, ...] = ("starting", "serving", "stopping")


def bring_to(rig: Rig, moment: Moment, chance: random.Random) -> Program:
    """Bring an agent to a moment of its life, and let some of it pass."""
    if moment == "starting":
        if rig.agent is not None and rig.agent.ended is None:
            rig.agent.stop(20)
        agent = rig.run_agent("run")
        time.sleep(chance.uniform(0.2, 4.0))
        return agent
    agent = rig.serving()
    if moment == "serving":
        threading.Thread(target=listen, args=(rig,), daemon=True).start()
    else:
        agent.signal(signal.SIGTERM)
    time.sleep(chance.uniform(0.0, 1.0))
    return agent


def listen(rig: Rig) -> None:
    """Ask for a long answer and hear it as far as it goes."""
    with contextlib.suppress(Exception):
        rig.product.http.chat(MODEL, "Count to a thousand.", max_tokens=400)


@pytest.mark.timeout(900)
def test_a_kill_at_any_moment_leaves_nothing(rig: Rig, pytestconfig: pytest.Config) -> None:
    """Starting, serving with a request, stopping: gone within 30 s, and by the next start at most.

    More of them with --kills N. Every other round the next start comes at once.
    """
    kills = pytestconfig.getoption("--kills")
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    for number in range(kills):
        moment = MOMENTS[number % len(MOMENTS)]
        story = f"kill {number} of seed {seed}, {moment}"
        agent = bring_to(rig, moment, chance)
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(agent.pid).send_signal(signal.SIGKILL)
        agent.process.wait(30)
        if number // len(MOMENTS) % 2 == 0:
            eventually(f"{story}: the containers' end", lambda: not rig.user.containers(), 30)
            eventually(f"{story}: the processes' end", lambda: not running_inside(rig), 30)
        rig.serving()
        assert len(rig.user.containers()) == 1, story
        assert len(running_inside(rig)) == 2, story


def running_inside(rig: Rig) -> list[psutil.Process]:
    """List processes of the user inside containers."""
    uid = 100_000 + 61_000 - 1 + shift(rig)
    found = []
    for each in psutil.process_iter():
        try:
            if each.uids().real == uid and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
        except psutil.Error:
            continue
    return found


def test_a_game_takes_the_container_away(rig: Rig, tmp_path: Path) -> None:
    """By the name of its program: container and processes gone while it runs, and back after it."""
    limits = rig.user.gai("node", "limits", "--data-dir", rig.user.node)
    rig.user.well(*limits, "--pause-on", GAME, "--resume-after", "1s")
    rig.serving()
    assert running_inside(rig)
    game = tmp_path / GAME
    game.symlink_to(sys.executable)
    child = subprocess.Popen([game, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        eventually("the processes' end", lambda: not running_inside(rig), 20)
        eventually("the container's end", lambda: not rig.user.containers(), 20)
        said = json.loads(told(rig))["guard"]
        assert (said["action"], said["signal"]) == ("release", "game")
    finally:
        child.communicate(b"\n", timeout=60)
    rig.serving()
    assert len(running_inside(rig)) == 2
    rig.user.well(*limits, "--pause-on", "off", "--resume-after", "off")


def test_what_a_dead_agent_left_is_removed_at_the_next_start(rig: Rig) -> None:
    """A container with the folder's label is gone; another's is left alone."""
    mark = f"garage-ai.folder={tag(rig)}"
    common = ["podman", "run", "--detach", "--pull=never", "--network=none"]
    ulimits = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"]
    orphan = rig.user.well(*common, *ulimits, f"--label={mark}", BASE, "sleep", "600").strip()
    own = rig.user.well(
        *common, *ulimits, "--label=garage-ai.folder=another", BASE, "sleep", "600"
    ).strip()
    try:
        rig.serving()
        there = rig.user.well("podman", "ps", "--all", "--quiet", "--no-trunc").split()
        assert orphan not in there
        assert own in there
        assert len(there) == 2
    finally:
        rig.user.well("podman", "rm", "--force", "--time=0", own)


def test_a_stopped_agent_leaves_no_container(rig: Rig) -> None:
    """SIGTERM: the container is stopped and removed before the agent ends."""
    agent = rig.serving()
    assert rig.user.containers()
    assert agent.stop(20) == 0
    assert rig.user.containers() == []
    assert running_inside(rig) == []


def test_who_leaves_takes_container_and_image_along(rig: Rig) -> None:
    """The last test here: afterwards the user's PC is as before, but for images of his own."""
    rig.serving()
    image = json.loads((rig.user.node / "images.json").read_text())["built"]["podman"]["image"]
    assert rig.user.ask("podman", "image", "exists", image).returncode == 0
    assert rig.agent is not None
    rig.agent.process.kill()
    rig.agent.process.wait(30)
    leave = rig.user.gai("node", "leave", "--json", "--data-dir", rig.user.node)
    left = json.loads(rig.user.well(*leave))
    assert (left["network"], left["kept"]) == ("left", [])
    assert f"image {image} of podman" in left["removed"]
    assert rig.user.containers() == []
    assert running_inside(rig) == []
    assert rig.user.ask("podman", "image", "exists", image).returncode == 1
    assert rig.user.ask("podman", "image", "exists", BASE).returncode == 0
    assert not rig.user.node.exists()
    assert [each for each in rig.product.nodes() if each["state"] != "removed"] == []
    again = json.loads(rig.user.well(*leave))
    assert (again["network"], again["removed"]) == ("no_node", [])
