"""Leaving a network: what was the node is gone, what is the owner's stays."""

import asyncio
import errno
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bench.mock_options import Options
from tests.integration.node.conftest import MakeMock
from tests.parts.edge import Edge, running_edge

from garage_ai.node import leaving
from garage_ai.node.errors import GatewayAway, NotEnrolled
from garage_ai.node.events import Event
from garage_ai.node.folder import Choice, NodeFolder
from garage_ai.node.group.setup import take_down_tunnel
from garage_ai.node.group.tunnel import tunnel_to_end
from garage_ai.node.guard.limits import Limits, save_limits
from garage_ai.node.join import join
from garage_ai.node.leaving import leave
from garage_ai.node.records import record_with
from garage_ai.node.sandbox.containers import tag_of
from garage_ai.node.sandbox.images import Built, ImageBook
from garage_ai.node.service.user_manager import NodeService

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

MODEL = "a" * 64
IMAGE = "sha256:" + "1" * 64


@pytest.fixture(autouse=True)
def pc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PC with a Podman that has two containers of anybody's and writes down what it is asked."""
    programs = tmp_path / "bin"
    programs.mkdir()
    known = json.dumps([{"Id": IMAGE, "RepoTags": []}])
    script = f"""#!/bin/sh
echo "$@" >> {tmp_path}/asked
case "$*" in
info*) cat {tmp_path}/info ;;
"image rm {IMAGE}") touch {tmp_path}/removed ;;
"image inspect {IMAGE}") [ ! -e {tmp_path}/removed ] && echo '{known}' ;;
image*) ;;
*"ps --all"*) [ -e {tmp_path}/cleared ] || echo one two ;;
*"rm --force"*) touch {tmp_path}/cleared ;;
esac
"""
    recorded = Path(__file__).parents[2] / "unit/node/sandbox/podman-rootless-v1.json"
    (tmp_path / "info").write_text(recorded.read_text())
    (programs / "podman").write_text(script)
    (programs / "podman").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    """A gateway with real accounts."""
    async with running_edge(tmp_path / "edge") as running:
        yield running


@pytest.fixture
async def folder(edge: Edge, tmp_path: Path, make_mock: MakeMock) -> NodeFolder:
    """The folder of a node that has lived a while, in which somebody else keeps things too."""
    mock = await make_mock(Options())
    folder = NodeFolder(tmp_path / "node")
    made = await edge.services.tokens.create()
    assert made.secret is not None
    choice = Choice(engine="external", engine_url=mock.url, models=("mock",))
    await join(edge.url, made.secret, folder, choice=choice, name="rig", tell=quiet)
    home = folder.path
    save_limits(home, Limits())
    for name in (
        *("tally.json", "benchmarks.json", "seccomp.json", "service.env"),
        "prices/2026-11-29_SE3.json",
        *(f"models/{MODEL}/m.gguf", f"locks/{MODEL}.lock", f"checked/{MODEL}.json"),
        *("logs/engine.log", "logs/engine.log.1", "run/agent.sock", "image-abc/garage/x"),
        *("versions/state.json", "versions/0.2.0/bin/python", "versions/.lock"),
    ):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("x" * 1000)
    ImageBook(home).built("podman", Built(IMAGE, IMAGE, "base"))
    unit = NodeService(folder).path
    unit.parent.mkdir(parents=True)
    unit.write_text("[Unit]\n")
    return folder


def quiet(_: Event) -> None:
    return None


def contents(folder: NodeFolder) -> list[str]:
    return sorted(str(path.relative_to(folder.path)) for path in folder.path.rglob("*"))


async def test_nothing_of_the_node_is_left(edge: Edge, folder: NodeFolder, pc: Path) -> None:
    """Identity, service, containers, images, models, settings: gone, and told."""
    node = folder.load().node
    unit = NodeService(folder)
    left = await leave(folder)
    assert (left.node, left.network, left.kept) == (node, "left", ())
    assert edge.network.removed == [node]
    assert not folder.path.exists()
    assert not unit.path.exists()
    asked = (pc / "asked").read_text()
    assert f"image rm {IMAGE}" in asked
    assert "rm --force --time=1 one two" in asked
    assert left.removed[:3] == (
        f"service {unit.unit}",
        "containers of podman: 2",
        f"image {IMAGE} of podman",
    )
    assert left.freed_bytes > 10_000


async def test_what_a_kill_left_half_written_goes_too(folder: NodeFolder) -> None:
    """Whatever of the folder was being written: a secret may stand in it, so it is gone at once."""
    names = [path for path in folder.path.iterdir() if path.is_file() and path.name != "agent.lock"]
    assert {"identity.json", "node.nk", "tally.json"} <= {path.name for path in names}
    halves = [path.with_name(f".{path.name}.0123456789abcdef") for path in names]
    for half in halves:
        half.write_text("half")
    folder.forget()
    mine = [half.name for half in halves if half.exists()]
    assert not [name for name in mine if name.startswith((".identity", ".node"))]
    await leave(folder)
    assert not folder.path.exists()


async def test_again_is_no_trouble(folder: NodeFolder) -> None:
    """The second time there is nothing to do, and no folder is made for it."""
    await leave(folder)
    again = await leave(folder)
    assert (again.node, again.network, again.removed) == (None, "no_node", ())
    assert not folder.path.exists()


async def test_models_stay_for_the_next_time(folder: NodeFolder) -> None:
    """With --keep-models the weights stay, with what is known of their digests."""
    await leave(folder, keep_models=True)
    assert [name for name in contents(folder) if "." in name] == [
        f"checked/{MODEL}.json",
        f"locks/{MODEL}.lock",
        f"models/{MODEL}/m.gguf",
    ]


async def test_what_others_keep_there_stays(folder: NodeFolder) -> None:
    """Files by other names, another's models and logs, and a network that lives in the folder."""
    others = ["models/mine.gguf", "logs/gateway.log", "run/up.json", "admin.key", "notes.txt"]
    others += ["prices/houses.json", "versions/book/first.txt", "locks/keys.txt", "checked/list"]
    for name in others:
        (folder.path / name).parent.mkdir(exist_ok=True)
        (folder.path / name).write_text("mine")
    adopted = folder.path.parent / "adopted.gguf"
    adopted.write_text("weights")
    (folder.path / "models" / ("b" * 64)).symlink_to(adopted.parent)
    await leave(folder)
    found = contents(folder)
    assert sorted(others) == [name for name in found if not (folder.path / name).is_dir()]
    assert adopted.exists()


async def test_a_folder_that_was_no_nodes_is_not_touched(tmp_path: Path) -> None:
    """A mistyped --data-dir costs nobody his models."""
    folder = NodeFolder(tmp_path / "mine")
    (folder.path / "models" / MODEL).mkdir(parents=True)
    left = await leave(folder)
    assert (left.network, left.removed) == ("no_node", ())
    assert contents(folder) == ["models", f"models/{MODEL}"]


async def test_a_network_that_is_away_keeps_all(
    folder: NodeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is removed while the network cannot be told; `force` goes on, and says so."""
    monkeypatch.setattr("garage_ai.node.gateway_client.TRIES", 1)
    record = record_with(folder.load(), gateway="http://127.0.0.1:1")
    folder.save(record)
    before = contents(folder)
    with pytest.raises(GatewayAway):
        await leave(folder)
    assert contents(folder) == before
    left = await leave(folder, force=True)
    assert (left.node, left.gateway, left.network) == (record.node, record.gateway, "not_told")
    assert not folder.path.exists()


async def test_a_node_that_was_removed_already_leaves_too(edge: Edge, folder: NodeFolder) -> None:
    """The administrator was first."""
    await edge.services.enrolment.remove(folder.load().node)
    assert (await leave(folder)).network == "gone_already"
    assert not folder.path.exists()


async def test_a_damaged_identity_is_not_forgotten_by_mistake(folder: NodeFolder) -> None:
    """It may still be mended and told of; `force` removes it all the same."""
    (folder.path / "identity.json").write_text("{")
    with pytest.raises(NotEnrolled, match="cannot be used"):
        await leave(folder)
    assert (folder.path / "models" / MODEL).exists()
    assert (await leave(folder, force=True)).network == "no_node"
    assert not folder.path.exists()


STEPS = ["_say_goodbye", "forget", "_service", "_containers", "_images", "_remove"]


class Killed(BaseException):
    """What a power cut is to the program."""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
async def test_cut_short_at_any_step_it_is_ended_by_the_same_command(
    edge: Edge, folder: NodeFolder, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    """Whatever was done already is no trouble the second time; nothing is left in the end."""
    node = folder.load().node
    unit = NodeService(folder)
    owner = {"_say_goodbye": leaving, "forget": NodeFolder}.get(step, leaving._Leaving)
    genuine = getattr(owner, step)

    def cut(*words: object, **more: object) -> object:
        if when == "before":
            raise Killed
        done = genuine(*words, **more)
        if asyncio.iscoroutine(done):
            return awaited(done)
        raise Killed

    async def awaited(work: object) -> None:
        await work  # type: ignore[misc]
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, cut)
        with pytest.raises(Killed):
            await leave(folder)
    await leave(folder)
    assert edge.network.removed == [node]
    assert not folder.path.exists()
    assert not unit.path.exists()


async def test_what_cannot_be_removed_is_named(
    folder: NodeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest goes; the same command ends it once that is put right."""
    locked = folder.path / "models" / MODEL
    genuine = shutil.rmtree

    def refusing(path: Path) -> None:
        if path == locked:
            raise PermissionError(errno.EACCES, "Permission denied")
        genuine(path)

    with monkeypatch.context() as patch:
        patch.setattr("garage_ai.node.leaving.shutil.rmtree", refusing)
        left = await leave(folder)
    assert left.kept == (f"{locked}: Permission denied",)
    assert not (folder.path / "limits.json").exists()
    assert (await leave(folder)).kept == ()
    assert not folder.path.exists()


@pytest.mark.system
async def test_what_root_has_made_for_a_group_is_roots_to_take_away(
    folder: NodeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To anybody else it is told, with the command; that one does it."""
    made = tunnel_to_end(tag_of(folder.path)).socket
    made.parent.mkdir(exist_ok=True)
    made.touch()
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 1000)
        left = await leave(folder)
    command = f"gai group leave --data-dir {folder.path}"
    assert left.kept == (f"network of the group: as root: {command}",)
    assert take_down_tunnel(folder)
    assert not made.exists()
    assert (await leave(folder)).kept == ()
