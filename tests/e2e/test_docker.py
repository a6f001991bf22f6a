"""The sandbox by Docker, run for real: its own daemon, an ordinary user of it, a whole network."""

import io
import json
import signal
import tarfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
from bench.processes import free_ports
from tests.e2e.test_sandbox import MODEL, Rig
from tests.e2e.test_sandbox_images import REGISTRY
from tests.e2e.test_sandbox_limits import (
    BUSY,
    FILES,
    KILLED,
    LIMITS,
    MEMORY,
    PROCESSES,
    SHARED,
)
from tests.parts.docker import Daemon, docker_daemon
from tests.parts.guest import BASE, PROBE, guest, none_left
from tests.parts.places import open_places
from tests.parts.product import Product
from tests.parts.program import Program
from tests.parts.waiting import eventually

from garage_ai.node.errors import NoImage, RuntimeBroken
from garage_ai.node.sandbox.argv import run_argv
from garage_ai.node.sandbox.command import Said, ask
from garage_ai.node.sandbox.containers import Containers
from garage_ai.node.sandbox.detect import find_runtime
from garage_ai.node.sandbox.images import Allowed, ImageBook, image_id, inspect, pulled
from garage_ai.node.sandbox.launcher import ContainerLauncher
from garage_ai.node.sandbox.spec import MEBI, USER, ContainerSpec, Limits

pytestmark = [pytest.mark.anyio, pytest.mark.system, pytest.mark.timeout(420)]


@dataclass
class Docked(Rig):
    """A network that lets nobody in without a whole sandbox, and a volunteer who has Docker."""

    daemon: Daemon | None = None

    @property
    def docker(self) -> Daemon:
        """The daemon."""
        assert self.daemon is not None
        return self.daemon


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, debian_archive: Path) -> Iterator[Docked]:
    """Start daemon and network, make the user, build the engine's image; nobody has joined yet."""
    folder = tmp_path_factory.mktemp("docker")
    with ExitStack() as stack:
        user = stack.enter_context(guest(None))
        daemon = stack.enter_context(docker_daemon(user.name))
        user.environment["DOCKER_HOST"] = daemon.host
        daemon.well("import", debian_archive, BASE)
        product = Product(folder, "--no-node")
        stack.callback(product.stop)
        product.start()
        image = ["node", "image", "--sandbox", "docker", "--base", BASE]
        user.well(*user.gai(*image, "--data-dir", user.node))
        yield Docked(product, user, daemon=daemon)


@pytest.fixture(autouse=True)
def no_agent_is_left(rig: Docked, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End a test's agent with the test; what the test itself asks of docker goes to the daemon."""
    monkeypatch.setenv("DOCKER_HOST", rig.docker.host)
    yield
    if rig.agent is not None and rig.agent.ended is None:
        rig.agent.stop(20)


def inside(docker: Daemon) -> list[psutil.Process]:
    """List the processes in the daemon's only container, by their numbers on this machine."""
    (container,) = docker.containers()
    _, *lines = docker.well("top", container, "-eo", "pid").splitlines()
    return [psutil.Process(int(line)) for line in lines]


def test_a_node_with_docker_is_let_in_at_once(rig: Docked) -> None:
    """Its limits hold, so nobody is asked; it answers a chat."""
    rig.run_agent("join", rig.product.url, rig.product.token(), "--sandbox", "docker")
    rig.product.serves(MODEL, 60)
    node = rig.node()
    assert (node["sandbox"], node["limits"], node["bare_allowed"]) == ("docker", True, False)
    answer = rig.product.http.chat(MODEL, "Say hello.", max_tokens=8)
    assert answer.json()["choices"][0]["message"]["content"]
    assert answer.headers["x-gai-node"] == node["id"]


def test_the_daemon_was_told_what_the_owner_is_shown(rig: Docked) -> None:
    """Network, rights, limits and image; the two processes inside are nobody's on this machine."""
    rig.serving()
    shown = rig.user.well(*rig.user.gai("node", "sandbox", "--json", "--data-dir", rig.user.node))
    argv = json.loads(shown)["argv"]
    (container,) = rig.docker.containers()
    told = rig.docker.host_config(container)
    assert (told["NetworkMode"], told["ReadonlyRootfs"], told["Privileged"]) == (
        *("none", True, False),
    )
    assert (told["CapDrop"], told["SecurityOpt"]) == (["ALL"], ["no-new-privileges:true"])
    assert f"--memory={told['Memory']}" in argv
    assert told["MemorySwap"] == told["Memory"]
    assert f"--pids-limit={told['PidsLimit']}" in argv
    image = rig.docker.well("inspect", "--format", "{{.Image}}", container).strip()
    assert image == json.loads(shown)["image"]
    assert [each.uids().real for each in inside(rig.docker)] == [USER, USER]


def test_a_probe_gets_nowhere(rig: Docked) -> None:
    """Host, LAN, metadata, DNS, files, processes, capabilities, mounts: shut, as under Podman."""
    rig.serving()
    other = rig.user.home / "other.gguf"
    rig.user.well("sh", "-c", f"echo weights > {other}")
    paths = [str(other), str(rig.user.node / "identity.json"), rig.docker.host.partition("//")[2]]
    with open_places() as places:
        found = rig.user.well(rig.user.python, "-c", PROBE, rig.user.node, *paths, *places)
    findings = {each["name"]: each for each in json.loads(found)}
    assert {f"open {path}" for path in paths} <= set(findings)
    assert {f"connect to {place}" for place in places} <= set(findings)
    assert [each for each in findings.values() if not each["held"]] == []
    assert len(findings) > 35


@pytest.mark.parametrize("with_client", [False, True], ids=["agent", "agent and docker"])
def test_no_container_outlives_its_agent(rig: Docked, with_client: bool) -> None:
    """Kill -9 of the agent, alone or with its client: gone within 30 s, though the daemon lives."""
    agent = rig.serving()
    started = inside(rig.docker)
    assert started
    clients = [each for each in agent.family() if each.name() == "docker"]
    assert clients
    for each in [psutil.Process(agent.pid), *(clients if with_client else [])]:
        each.send_signal(signal.SIGKILL)
    eventually("the container's end", lambda: not rig.docker.containers(), 30)
    eventually("its processes' end", lambda: not any(each.is_running() for each in started), 30)


def test_what_a_dead_agent_left_is_removed_at_the_next_start(rig: Docked) -> None:
    """A container with the folder's label is gone; another's is left alone."""
    shown = rig.user.well(*rig.user.gai("node", "sandbox", "--json", "--data-dir", rig.user.node))
    (mark,) = (each for each in json.loads(shown)["argv"] if "garage-ai.folder=" in each)
    common = ["run", "--detach", "--pull=never", "--network=none"]
    orphan = rig.docker.well(*common, mark, BASE, "sleep", "600").strip()
    own = rig.docker.well(*common, f"{mark[:-4]}ffff", BASE, "sleep", "600").strip()
    try:
        rig.serving()
        there = rig.docker.containers()
        assert orphan not in there
        assert own in there
        assert len(there) == 2
    finally:
        rig.docker.well("rm", "--force", own)


def test_a_pause_takes_the_container_away(rig: Docked) -> None:
    """`gai node pause --now`: gone soon after it was asked; `resume` brings it back."""
    rig.serving()
    rig.user.well(*rig.user.gai("node", "pause", "--now", "--data-dir", rig.user.node))
    eventually("the container's end", lambda: not rig.docker.containers(), 20)
    rig.user.well(*rig.user.gai("node", "resume", "--data-dir", rig.user.node))
    rig.serving()


def test_a_stopped_agent_leaves_no_container(rig: Docked) -> None:
    """SIGTERM: the container is stopped and removed before the agent ends."""
    agent = rig.serving()
    started = inside(rig.docker)
    assert started
    assert agent.stop(20) == 0
    assert rig.docker.containers() == []
    eventually("its processes' end", lambda: not any(each.is_running() for each in started))


async def tried(tmp_path: Path, code: str, limits: Limits) -> Said:
    """Run some Python in a sandbox with these limits; nothing of it is left afterwards."""
    runtime = await find_runtime("docker")
    assert runtime.enforces
    image = await inspect(runtime, BASE)
    assert image is not None
    containers = Containers(runtime, tmp_path, "nlimits")
    spec = ContainerSpec(
        image=image_id(image),
        name=f"gai-{containers.tag}-engine",
        command=("/usr/bin/python3", "-c", code),
        limits=limits,
        labels=containers.labels,
    )
    said = await ask(run_argv(spec, runtime), seconds=60, folder=tmp_path)
    await none_left(containers)
    return said


async def test_memory_and_processor_end_at_the_limit(tmp_path: Path) -> None:
    """Who takes more memory is killed; two busy processes get half a core between them."""
    over = await tried(tmp_path, MEMORY, LIMITS)
    assert (over.status, over.out) == (KILLED, "")
    under = await tried(tmp_path, MEMORY, replace(LIMITS, memory=512 * MEBI))
    assert (under.status, under.out) == (0, "took it all\n")
    said = await tried(tmp_path, BUSY, replace(LIMITS, cpus=0.5))
    used, passed = map(float, said.out.split())
    assert 0 < used < 0.75 * passed


@pytest.mark.parametrize("code", [PROCESSES, FILES, SHARED], ids=["processes", "files", "shm"])
async def test_what_is_beyond_is_refused(tmp_path: Path, code: str) -> None:
    """Processes, open files and shared memory: to the one who asks for more."""
    assert (await tried(tmp_path, code, LIMITS)).out.startswith("no more:")


async def test_time_ends_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker has no limit of time, and a container outlives its client: it is removed by name."""
    monkeypatch.setattr("garage_ai.node.sandbox.launcher._GRACE", 1.0)
    runtime = await find_runtime("docker")
    image = await inspect(runtime, BASE)
    assert image is not None
    containers = Containers(runtime, tmp_path, "nlimits")
    launcher = ContainerLauncher(containers, image_id(image), tmp_path / "run")
    began = time.monotonic()
    with pytest.raises(RuntimeBroken, match="did not end"):
        await launcher.ask(("/usr/bin/python3", "-c", "import time; time.sleep(600)"), seconds=2)
    assert time.monotonic() - began < 60
    await none_left(containers)


async def test_the_first_pull_pins(rig: Docked, tmp_path: Path) -> None:
    """From a real registry: a name that is given to other bytes later does not reach this PC."""
    port = free_ports()
    (tmp_path / "registry.yml").write_text(REGISTRY.format(folder=tmp_path / "shelf", port=port))
    argv = ["docker-registry", "serve", str(tmp_path / "registry.yml")]
    program = Program("registry", argv, tmp_path, {"PATH": "/usr/bin:/bin"})
    reference = f"127.0.0.1:{port}/base:12"
    try:
        eventually("the registry", lambda: "listening on" in program.output())
        put(rig.docker, tmp_path, reference, "as it was")
        runtime, book = await find_runtime("docker"), ImageBook(tmp_path)
        first = await pulled(runtime, Allowed(reference, None), book)
        assert book.read().pulled == {reference: first.partition("@")[2]}
        before = await inspect(runtime, first)
        put(rig.docker, tmp_path, reference, "as somebody made it later")
        assert await pulled(runtime, Allowed(reference, None), book) == first
        after = await inspect(runtime, first)
        assert before is not None
        assert after is not None
        assert after.id == before.id  # the tag went to the later one, as tags do
        with pytest.raises(NoImage, match="cannot be pulled"):
            await pulled(runtime, Allowed(reference, "sha256:" + "0" * 64), book)
    finally:
        program.stop()


def put(daemon: Daemon, folder: Path, reference: str, text: str) -> None:
    """Push an image that holds this text, and forget it here."""
    archive = folder / "image.tar"
    with tarfile.open(archive, "w") as tar:
        about = tarfile.TarInfo("text")
        about.size = len(text)
        tar.addfile(about, io.BytesIO(text.encode()))
    made = daemon.well("import", archive, reference).strip()
    daemon.well("push", "--quiet", reference)
    daemon.well("image", "rm", "--force", made)


def test_who_leaves_takes_container_and_image_along(rig: Docked) -> None:
    """The last test here: all is gone but an image that another folder's node uses, and it says so.

    When that one has left too, so has the image.
    """
    other = rig.user.home / "other"
    for_other = rig.user.gai("node", "image", "--sandbox", "docker", "--base", BASE)
    rig.user.well(*for_other, "--data-dir", other)
    rig.serving()
    image = json.loads((rig.user.node / "images.json").read_text())["built"]["docker"]["image"]
    assert rig.agent is not None
    rig.agent.process.kill()
    rig.agent.process.wait(30)
    leave = rig.user.gai("node", "leave", "--json", "--data-dir", rig.user.node)
    left = json.loads(rig.user.well(*leave))
    assert (left["network"], left["kept"]) == ("left", [])
    assert left["shared"] == [f"image {image} of docker"]
    assert rig.docker.containers() == []
    assert rig.docker.ask("image", "inspect", image).returncode == 0
    rig.user.well("touch", other / "agent.lock")
    leave_too = rig.user.gai("node", "leave", "--json", "--data-dir", other)
    assert f"image {image} of docker" in json.loads(rig.user.well(*leave_too))["removed"]
    assert rig.docker.ask("image", "inspect", image).returncode == 1
    assert rig.docker.ask("image", "inspect", BASE).returncode == 0
    assert not rig.user.node.exists()
