"""The network of a gang's engine, in a real container: Podman run by root, with its own argv.

The probe of the sandbox goes in where the engine would be, with everything that an engine of a gang
is started with, and tries to get out.
"""

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.parts.group_ends import LISTEN, PORT, End, dial, listening, network, two_ends
from tests.parts.guest import BASE
from tests.parts.node_image import storage
from tests.parts.waiting import eventually

from garage_ai.node.engines.vllm_options import PYTHON, VllmOptions
from garage_ai.node.folder import Choice
from garage_ai.node.group.messages import GangPlan, Place
from garage_ai.node.group.rank import seated
from garage_ai.node.group.setup import check_fence
from garage_ai.node.sandbox.check import Finding, probe
from garage_ai.node.sandbox.containers import Containers
from garage_ai.node.sandbox.detect import find_runtime
from garage_ai.node.sandbox.launcher import ContainerLauncher
from garage_ai.node.sandbox.seccomp import write_profile
from garage_ai.wire.ids import Digest, NodeId

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

NOBODY = "10.213.0.99"
"""An address of the group's network that is no rank's."""


class Rank:
    """A rig's part of a gang of two: how its engine is started, as its agent would."""

    def __init__(self, folder: Path, number: int, ends: tuple[End, End]) -> None:
        folder.mkdir()
        runtime = asyncio.run(find_runtime("podman"))
        self.containers = Containers(runtime, folder)
        seccomp = write_profile(runtime.profile, folder)
        self.launcher = ContainerLauncher(self.containers, BASE, folder / "run", seccomp)
        check_fence(Choice(engine="vllm", models=("m",)), self.launcher)
        config = folder / "config.json"
        config.write_text("{}")
        options = VllmOptions(
            folder=folder,
            files=((config.name, config),),
            name="small",
            digest=Digest("sha256:" + "b" * 64),
            kind="chat",
            slots=2,
            context=512,
            memory_share=0.9,
        )
        places = tuple(Place(NodeId("ab"[at]), end.told) for at, end in enumerate(ends))
        plan = GangPlan(places, tensor=2)
        self.options = seated(options, plan, plan.nodes[number], ends[number].tunnel)

    def listener(self) -> tuple[str, ...]:
        """Make the command of a container that listens where the engine would."""
        assert self.options.rank is not None
        program = (PYTHON, "-c", LISTEN, self.options.rank.address)
        return self.launcher.argv_of(program, seconds=300, what=self.options)

    def probed(self, *places: str) -> dict[str, Finding]:
        """Let the probe loose where the engine would be."""
        found = asyncio.run(probe(self.launcher, self.options, *places))
        return {each.name: each for each in found}


@pytest.fixture
def ends() -> Iterator[tuple[End, End]]:
    """Two PCs on one LAN whose agents have let each other be reached."""
    with two_ends() as made:
        yield made


@pytest.fixture
def ranks(
    tmp_path_factory: pytest.TempPathFactory, debian_archive: Path, ends: tuple[End, End]
) -> Iterator[tuple[Rank, Rank]]:
    """Both parts of a gang, of which nothing runs yet."""
    folder = tmp_path_factory.mktemp("ranks")
    with storage(tmp_path_factory.mktemp("storage"), debian_archive):
        one, other = Rank(folder / "a", 0, ends), Rank(folder / "b", 1, ends)
        yield one, other
        for each in (one, other):
            asyncio.run(each.containers.clear())


def said_before(image: str, argv: tuple[str, ...]) -> set[str]:
    """Give what a command says of its container, but for its name, its program and its end."""
    words = argv[: argv.index(image)]
    others = ("--name=", "--entrypoint=", "--timeout=")
    return {word for word in words if not word.startswith(others)}


def test_the_probe_is_where_the_engine_would_be(
    ranks: tuple[Rank, Rank], ends: tuple[End, End]
) -> None:
    """Nothing about its container is another's; the network is the gang's own."""
    for rank, end in zip(ranks, ends, strict=True):
        engine = rank.launcher.argv(rank.options)
        assert said_before(BASE, rank.listener()) == said_before(BASE, engine)
        assert f"--network=ns:/run/netns/{end.tunnel.namespace}" in engine
        assert f"--env=VLLM_HOST_IP={end.tunnel.address}" in engine


def test_a_gangs_container_reaches_the_other_rank_and_nothing_else(
    ranks: tuple[Rank, Rank], ends: tuple[End, End]
) -> None:
    """No loopback of a PC, no address of the LAN, no cloud's metadata, no name server."""
    one, other = ends
    with ExitStack() as stack:
        stack.enter_context(listening(*ranks[1].listener()))
        loopback = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        here = network(one.host.name)
        for inside, address in (
            (network(other.host.name), other.host.address),
            (here, one.host.address),
            (here, "127.0.0.1"),
            ((), one.host.public),
        ):
            stack.enter_context(listening(*inside, sys.executable, "-c", LISTEN, address))
        # Whoever is not in the container gets there.
        for address in (other.host.address, one.host.address, "127.0.0.1", one.host.public):
            assert dial(here, address) == "reached\n"
        there = f"{other.tunnel.address}:{PORT}"
        eventually("the tunnel", lambda: one.dial(other.tunnel.address) == "reached\n", 30)
        unreachable = [
            f"{other.host.address}:{PORT}",
            f"{one.host.address}:{PORT}",
            f"{one.host.public}:{PORT}",
            f"127.0.0.1:{PORT}",
            f"127.0.0.1:{loopback.getsockname()[1]}",
            f"{NOBODY}:{PORT}",
        ]
        found = ranks[0].probed(there, *unreachable)
    held = {name for name, each in found.items() if each.held}
    links = "no network but loopback"
    assert set(found) - held == {f"connect to {there}", links}
    assert set(found[links].words.split(", ")) == {"lo", one.tunnel.interface}
    assert {f"connect to {place}" for place in unreachable} < held
    assert {"connect to 169.254.169.254:80", "connect to 1.1.1.1:443", "ask DNS"} < held
