"""The checklist on this PC, with a real gateway to reach and real ports that are closed."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from shlex import quote
from typing import Any

import msgspec
import pytest
from bench.processes import free_ports
from tests.parts.edge import Edge, running_edge

from garage_ai.node.errors import NotPossible
from garage_ai.node.events import Done, Event, Missing
from garage_ai.node.folder import Choice, NodeFolder, Record
from garage_ai.node.hardware.models import Gpu, Gpus
from garage_ai.node.join import join
from garage_ai.node.preflight import checks, service
from garage_ai.node.preflight.models import Facts, Finding
from garage_ai.node.preflight.reach import look
from garage_ai.node.preflight.reader import collect
from garage_ai.node.preflight.service import inspect_all, inspect_needs
from garage_ai.wire.ids import NodeId

pytestmark = pytest.mark.anyio


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    """A gateway with real accounts."""
    async with running_edge(tmp_path / "edge") as running:
        yield running


@pytest.fixture
def closed() -> int:
    """A port nobody listens on."""
    return free_ports()


Install = Callable[[str, str, str, str], Path]

RECORDED = Path(__file__).parents[2] / "unit/node/sandbox"
PODMAN = json.loads((RECORDED / "podman-rootless-v1.json").read_text())
DOCKER = {
    "ServerVersion": "28.2.2",
    "CgroupVersion": "1",
    "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"],
}
NOT_LET = (
    "permission denied while trying to connect to the Docker daemon socket at "
    "unix:///var/run/docker.sock: dial unix /var/run/docker.sock: connect: permission denied"
)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Let the PC have only programs that are made so: what they are, print and complain of."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))

    def make(name: str, version: str, info: str, words: str = "") -> Path:
        """Give the file that it makes when it is asked."""
        asked = tmp_path / f"{name}-asked"
        script = (
            "#!/bin/sh\n"
            f"if [ $1 = --version ]; then echo {quote(version)}; exit; fi\n"
            f": >> {asked}\n"
            f"printf %s {quote(info)}\n"
            f"if [ {quote(words)} ]; then echo {quote(words)} >&2; exit 1; fi\n"
        )
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
        return asked

    return make


def podman(install: Install, ids: object, words: str = "") -> Path:
    """Install a Podman whose user has these ids."""
    host = PODMAN["host"] | {"idMappings": {"uidmap": ids, "gidmap": ids}}
    info = {"host": host, "version": {"Version": "4.9.3"}}
    return install("podman", "podman version 4.9.3", json.dumps(info), words)


def docker(install: Install, words: str = "", **info: object) -> Path:
    """Install a rootless Docker on cgroup v1."""
    version = "Docker version 28.2.2, build e6534b4"
    return install("docker", version, json.dumps(DOCKER | info), words)


IDS = [{"container_id": 0, "host_id": 100_000, "size": 65_536}]


@pytest.fixture
def podman_alone(install: Install) -> None:
    """A Podman that works is all there is."""
    podman(install, IDS)


async def found(tmp_path: Path, check: str) -> Finding:
    report = await inspect_all(NodeFolder(tmp_path / "node"), "llamacpp")
    return next(each for each in report.findings if each.check == check)


async def test_a_docker_that_does_not_let_its_user_in_is_no_docker(
    tmp_path: Path, install: Install
) -> None:
    """It is there in a version that would do, and its daemon says no, in either way."""
    docker(install, NOT_LET)
    container = await found(tmp_path, "container")
    assert (container.state, container.case) == ("fail", "not_let")
    assert container.values["said"] == NOT_LET
    docker(install, ServerErrors=[NOT_LET], ServerVersion="")
    assert (await found(tmp_path, "container")).case == "not_let"


async def test_what_a_program_says_is_bounded(tmp_path: Path, install: Install) -> None:
    """Its last line, and of that no more than fits on a screen."""
    podman(install, IDS, words="first\n" + "x" * 5000)
    container = await found(tmp_path, "container")
    assert (container.case, container.values["said"]) == ("broken", "x" * 300)


async def test_a_docker_that_would_not_be_used_is_not_woken(
    tmp_path: Path, install: Install
) -> None:
    """Podman works, so nothing is asked of Docker's daemon, which systemd would start for it."""
    asked, woken = podman(install, IDS), docker(install)
    assert (await found(tmp_path, "container")).case == "podman"
    assert asked.exists()
    assert not woken.exists()


@pytest.mark.parametrize(("ids", "words"), [(None, ""), (IDS, "newuidmap: not found")])
async def test_a_podman_that_cannot_leaves_it_to_docker(
    tmp_path: Path, install: Install, ids: object, words: str
) -> None:
    """As the sandbox leaves it: no ids for the containers' users, or no answer."""
    podman(install, ids, words)
    docker(install)
    assert (await found(tmp_path, "container")).case == "docker"


async def test_a_rootless_docker_on_cgroup_v1_holds_nothing(
    tmp_path: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the daemon tells that it is not root."""

    def on_v1(*asked: Any) -> Facts:
        return msgspec.structs.replace(collect(*asked), cgroup="v1", bounded=False)

    monkeypatch.setattr(service, "collect", on_v1)
    docker(install)
    assert (await found(tmp_path, "cgroup")).case == "old"
    docker(install, SecurityOptions=["name=seccomp,profile=builtin"])
    assert (await found(tmp_path, "cgroup")).case == "docker"


def record(gateway: str, *urls: str) -> Record:
    return Record(node=NodeId("n1"), member="m", name="rig", gateway=gateway, urls=urls)


async def test_reaches_a_gateway_and_one_of_two_addresses(edge: Edge, closed: int) -> None:
    """The round trip and the clock come from the gateway; one open address is enough."""
    host, _, port = edge.url.removeprefix("http://").partition(":")
    urls = (f"nats://{host}:{closed}", f"nats://{host}:{port}")
    reach = await look(record(edge.url, *urls))
    assert reach.round_trip is not None
    assert reach.round_trip > 0
    assert reach.skew is not None
    assert abs(reach.skew) < 60
    assert (reach.nats, reach.nats_open) == (urls, urls[1:])


async def test_a_gateway_that_is_away_is_told(tmp_path: Path, closed: int) -> None:
    """A node whose network cannot be reached fails two checks, with the reason."""
    folder = NodeFolder(tmp_path / "node")
    folder.prepare()
    address = f"127.0.0.1:{closed}"
    folder.save(record(f"http://{address}", f"nats://{address}"))
    report = await inspect_all(folder, "external")
    failed = {each.check: each for each in report.failed}
    assert set(failed) == {"gateway", "nats"}
    assert failed["gateway"].values["error"]


async def test_this_pc_can_lend_a_server(tmp_path: Path) -> None:
    """An engine of the owner's own needs neither card nor containers."""
    report = await inspect_needs(NodeFolder(tmp_path / "node"), Choice(engine="external"))
    assert report.failed == ()
    assert {each.check for each in report.findings} == {"os", "python", "folder"}


CARD = Gpu(
    name="NVIDIA GeForce RTX 3090", uuid="GPU-1", total=24 << 30, free=23 << 30, compute=(8, 6)
)


def vllm(**wishes: Any) -> Choice:
    return Choice(engine="vllm", models=("m",), **wishes)


@pytest.mark.usefixtures("podman_alone")
@pytest.mark.parametrize(
    ("cards", "choice", "failed"),
    [
        ((CARD,), vllm(sandbox="podman"), {"cdi"}),
        ((CARD,), vllm(sandbox="none"), set()),
        ((CARD,), vllm(gpus=("none",)), set()),
        ((), vllm(sandbox="podman"), set()),
    ],
)
async def test_vllm_looks_at_a_card_before_a_token_is_spent(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cards: tuple[Gpu, ...],
    choice: Choice,
    failed: set[str],
) -> None:
    """One that its containers are not told of keeps it out; a PC without any may have vLLM for the
    processor."""

    def collected(*asked: Any) -> Facts:
        facts = collect(*asked)
        pc = msgspec.structs.replace(facts.pc, gpus=Gpus(cards=cards, driver="590", cuda=(13, 1)))
        return msgspec.structs.replace(facts, pc=pc, cdi=(), nvidia_plugged_in=bool(cards))

    monkeypatch.setattr(service, "collect", collected)
    report = await inspect_needs(NodeFolder(tmp_path / "node"), choice)
    assert {each.check for each in report.failed} == failed


async def test_a_pc_that_lacks_something_does_not_enrol(
    edge: Edge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing is told first, and no token is used up."""
    monkeypatch.setattr(checks, "LEAST_DISK", 1 << 62)
    made = await edge.services.tokens.create()
    assert made.secret is not None
    told: list[Event] = []
    folder, choice = NodeFolder(tmp_path / "n"), Choice(engine="llamacpp")
    with pytest.raises(NotPossible, match=r"disk.*gai node doctor"):
        await join(edge.url, made.secret, folder, choice=choice, name="rig", tell=told.append)
    (missing,) = [each for each in told if isinstance(each, Missing)]
    assert [(each.check, each.state) for each in missing.findings] == [("disk", "fail")]
    assert Done("preflight") not in told
    (token,) = await edge.services.tokens.list()
    assert token.redeemed_at is None
