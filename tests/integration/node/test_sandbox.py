"""The sandbox around what podman and docker are: found, asked, obeyed and not believed.

The real ones run in `tests/e2e/test_sandbox*.py`; here small programs bear their names.
"""

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.parts.job_caller import until

from garage_ai.node.engines.launch import Command
from garage_ai.node.engines.llamacpp_options import LlamaOptions
from garage_ai.node.errors import (
    EngineLost,
    NoImage,
    NoRuntime,
    NotPossible,
    RuntimeBroken,
    RuntimeTooOld,
)
from garage_ai.node.folder import Choice
from garage_ai.node.logs import BoundedLog
from garage_ai.node.sandbox.build import build_image, built_image, content_of, parts
from garage_ai.node.sandbox.command import ask
from garage_ai.node.sandbox.containers import Containers
from garage_ai.node.sandbox.detect import find_runtime
from garage_ai.node.sandbox.images import Built, ImageBook, own_name, remove_built
from garage_ai.node.sandbox.launcher import ContainerLauncher
from garage_ai.node.sandbox.order import Order, readable
from garage_ai.node.sandbox.spec import CONTROLLERS, MEBI, Limits, Runtime
from garage_ai.node.setup import check
from garage_ai.wire.ids import Digest
from garage_ai.wire.messages import EngineImage

pytestmark = pytest.mark.anyio

ID = "sha256:" + "1" * 64
CONTENT = "sha256:" + "2" * 64
OTHER = "sha256:" + "3" * 64
PODMAN = Runtime("podman", (4, 9, 3), rootless=True, cgroups=2, controllers=CONTROLLERS)
OLD = {"host": {"security": {"rootless": False, "seccompEnabled": True}}}
DOCKER = {
    "ServerVersion": "27.1.1",
    "SecurityOptions": ["name=seccomp,profile=builtin"],
    "MemoryLimit": True,
    "PidsLimit": True,
}
Stand = Callable[[str, str], None]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    """Put programs on the PATH that do what a line of shell says; nothing else is there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(name: str, does: str) -> None:
        path = folder / name
        path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{does}\n")
        path.chmod(0o755)

    return put


def says(what: object) -> str:
    return f"cat <<'END'\n{json.dumps(what)}\nEND"


async def test_a_pc_with_neither_is_told_what_to_install(stand_in: Stand) -> None:
    """And a preflight finds that before anything is enrolled; without a sandbox it is not asked."""
    with pytest.raises(NoRuntime, match="apt install podman"):
        await find_runtime()
    with pytest.raises(NoRuntime, match="docker not found"):
        await find_runtime("docker")
    with pytest.raises(NoRuntime):
        await check(Choice())
    await check(Choice(sandbox="none"))


async def test_docker_is_taken_where_podman_will_not_do(stand_in: Stand) -> None:
    """Unless podman was asked for by name."""
    stand_in("podman", says(OLD | {"version": {"Version": "3.4.4"}}))
    stand_in("docker", says(DOCKER))
    assert (await find_runtime()).program == "docker"
    with pytest.raises(RuntimeTooOld, match=r"3\.4\.4"):
        await find_runtime("podman")


async def test_of_two_that_fail_the_first_one_says_why(stand_in: Stand) -> None:
    """With its last words, for they name what is wrong."""
    stand_in("podman", "echo noise >&2; echo 'cannot find newuidmap' >&2; exit 125")
    stand_in("docker", "exit 1")
    with pytest.raises(RuntimeBroken, match="cannot find newuidmap"):
        await find_runtime()


async def test_a_command_that_does_not_end_is_ended(stand_in: Stand, tmp_path: Path) -> None:
    """It is killed at its time limit, and nothing of it is left."""
    stand_in("podman", f"echo $$ > {tmp_path}/pid; exec sleep 600")
    with pytest.raises(RuntimeBroken, match="did not end"):
        await ask(["podman", "ps"], seconds=0.5)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_what_never_stops_talking_fills_no_memory(stand_in: Stand) -> None:
    """An image of anybody's may write as fast as it can: what is kept is bounded, at both ends."""
    flood = "head -c 64M /dev/zero"
    stand_in("podman", f"{flood}; {flood} >&2; echo >&2; echo 'the end' >&2")
    tracemalloc.start()
    try:
        said = await ask(["podman", "run"])
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (said.status, said.words, len(said.out)) == (0, "the end", 4 * MEBI)
    assert most < 32 * MEBI


async def test_a_command_that_does_not_listen_is_heard_all_the_same(stand_in: Stand) -> None:
    """What it was to be told is more than its pipe holds."""
    stand_in("podman", "exec <&-; echo well")
    assert (await ask(["podman", "run"], stdin=bytes(MEBI))).out == "well\n"


async def test_what_cannot_be_removed_is_told(stand_in: Stand, tmp_path: Path) -> None:
    """The engine is not started beside what is left of another."""
    stand_in("podman", 'case $1 in ps) echo abc;; rm) echo "device busy" >&2; exit 1;; esac')
    launcher = ContainerLauncher(Containers(PODMAN, tmp_path), "sha256:1", tmp_path / "run")
    with pytest.raises(EngineLost, match="device busy"):
        await launcher.clear()
    stand_in("podman", "echo 'no storage' >&2; exit 125")
    with pytest.raises(EngineLost, match="no storage"):
        await launcher.clear()


async def test_one_that_went_by_itself_is_no_trouble(stand_in: Stand, tmp_path: Path) -> None:
    """Whether it is gone decides, not what `rm` says of it."""
    mark = tmp_path / "gone"
    stand_in(
        "podman", f"case $1 in ps) [ -e {mark} ] || echo abc;; rm) touch {mark}; exit 1;; esac"
    )
    assert await Containers(PODMAN, tmp_path).clear() == 1


class Sleeper:
    """What is run in the engine's place."""

    def bare(self, folder: Path) -> Command:
        raise AssertionError(folder)

    def inside(self) -> Order:
        return Order(("sleep", "600"), Limits(memory=1 << 28))


async def test_a_containers_first_process_is_known_as_ours(stand_in: Stand, tmp_path: Path) -> None:
    """As soon as it has one; the runtime is asked again until then, and no longer than it runs."""
    asked = tmp_path / "asked"
    stand_in(
        "podman",
        f"""
case "$*" in *inspect*) ;; *) exec cat;; esac
echo "$*" >> {asked}
case $(wc -l < {asked}) in
1) echo "no such container" >&2; exit 125;;
2) echo 0;;
*) echo 4711;;
esac""",
    )
    launcher = ContainerLauncher(Containers(PODMAN, tmp_path), ID, tmp_path / "run")
    log = BoundedLog(tmp_path / "engine.log")
    child = await launcher.launch(Sleeper(), launcher.socket_folder(tmp_path / "run"), log)
    assert child.pids == {child.pid}
    await until(lambda: child.pids == {child.pid, 4711}, seconds=30)
    assert asked.read_text().splitlines()[-1].endswith(f"gai-{launcher._containers.tag}-engine")
    await child.stop()
    assert child.pids == {child.pid}
    asked.unlink()
    child = await launcher.launch(Sleeper(), launcher.socket_folder(tmp_path / "run"), log)
    await child.stop()
    assert child.first_inside is None
    log.close()


async def test_an_image_that_was_cleared_away_is_got_again(stand_in: Stand, tmp_path: Path) -> None:
    """While a game had the PC nothing ran it; where it cannot be got, the start says why."""
    there, ran = tmp_path / "there", tmp_path / "ran"
    stand_in(
        "podman",
        f"""
case "$*" in
*"image inspect"*) [ -e {there} ] && echo '[{{"Id": "1"}}]' || exit 125;;
*inspect*) exit 125;;
*) echo "$*" > {ran}; exec cat;;
esac""",
    )
    away = [NoImage("the registry is away")]

    async def again() -> tuple[str, Built | None]:
        if away:
            raise away.pop()
        there.touch()
        return OTHER, Built(OTHER, CONTENT, "debian@" + ID)

    containers = Containers(PODMAN, tmp_path)
    launcher = ContainerLauncher(containers, ID, tmp_path / "run", again=again)
    log = BoundedLog(tmp_path / "engine.log")
    folder = launcher.socket_folder(tmp_path / "run")
    with pytest.raises(EngineLost, match="the registry is away"):
        await launcher.launch(Sleeper(), folder, log)
    child = await launcher.launch(Sleeper(), folder, log)
    await until(ran.exists, seconds=30)
    await child.stop()
    log.close()
    assert OTHER in ran.read_text()
    assert launcher.fence.image == EngineImage(OTHER, CONTENT, "debian@" + ID)


@pytest.mark.parametrize(
    ("image", "built", "told"),
    [
        (ID, Built(ID, CONTENT, "debian@" + ID), EngineImage(ID, CONTENT, "debian@" + ID)),
        (f"ghcr.io/x/server@{ID}", None, EngineImage(ID)),
        (ID, None, EngineImage(ID)),
        ("debian:12", None, None),
    ],
)
async def test_the_network_is_told_what_the_container_is_made_from(
    tmp_path: Path, image: str, built: Built | None, told: EngineImage | None
) -> None:
    """Built here of what was installed, or by digest; a name that may move says nothing."""
    containers = Containers(PODMAN, tmp_path)
    launcher = ContainerLauncher(containers, image, tmp_path / "run", built=built)
    assert launcher.fence.image == told


async def test_containers_are_told_apart_by_folder(tmp_path: Path) -> None:
    """Each folder has a mark of its own, which does not tell the path."""
    one, two = Containers(PODMAN, tmp_path / "a", "n1"), Containers(PODMAN, tmp_path / "b")
    assert one.tag != two.tag
    assert str(tmp_path) not in str(one.labels)
    assert ("garage-ai.node", "n1") in one.labels
    assert ("garage-ai.agent", str(os.getpid())) in two.labels


async def test_weights_must_be_readable_inside(tmp_path: Path) -> None:
    """The engine's user is another; the owner is told the command instead of a puzzle."""
    file = tmp_path / "secret.gguf"
    file.write_bytes(b"x")
    file.chmod(0o600)
    with pytest.raises(NotPossible, match="chmod o"):
        readable(file)
    file.chmod(0o644)
    link = tmp_path / "link.gguf"
    link.symlink_to(file)
    assert readable(link) == file.resolve()
    with pytest.raises(NotPossible):
        readable(tmp_path / "missing.gguf")


async def test_all_files_of_a_model_go_in_beside_each_other(tmp_path: Path) -> None:
    """Under their own names, wherever they lie here, and each read-only."""
    first, second = tmp_path / "a" / "m-00001-of-00002.gguf", tmp_path / "m-00002-of-00002.gguf"
    first.parent.mkdir()
    for path in (first, second):
        path.write_bytes(b"x")
    digest = Digest("sha256:" + "0" * 64)
    options = LlamaOptions(first, "m", digest, "chat", 1, 512, 1, beside=(second,))
    launcher = ContainerLauncher(Containers(PODMAN, tmp_path), "sha256:1", tmp_path / "run")
    argv = launcher.argv(options)
    for path in (first, second):
        assert f"--mount=type=bind,src={path},dst=/models/{path.name},readonly" in argv
    assert argv[argv.index("--model") + 1] == f"/models/{first.name}"


async def test_the_engines_folder_is_open_behind_a_closed_door(tmp_path: Path) -> None:
    """Its user writes there from inside; from outside only the owner gets so far."""
    run = tmp_path / "run"
    launcher = ContainerLauncher(Containers(PODMAN, tmp_path), "sha256:1", run)
    folder = launcher.socket_folder(run)
    assert folder.stat().st_mode & 0o777 == 0o777
    assert run.stat().st_mode & 0o777 == 0o700
    assert folder.parent == run


async def test_a_path_that_cannot_be_mounted_keeps_the_engine_away(
    stand_in: Stand, tmp_path: Path
) -> None:
    """It is a reason to read, not a crash."""
    folder = tmp_path / "a,b"
    folder.mkdir()
    weights = folder / "m.gguf"
    weights.write_bytes(b"x")
    options = LlamaOptions(weights, "m", Digest("sha256:" + "0" * 64), "chat", 1, 512, 1)
    launcher = ContainerLauncher(Containers(PODMAN, tmp_path), "sha256:1", tmp_path / "run")
    with pytest.raises(EngineLost, match="comma"):
        await launcher.launch(options, tmp_path, BoundedLog(tmp_path / "log"))


async def test_an_image_is_known_by_what_went_in(stand_in: Stand, tmp_path: Path) -> None:
    """After an upgrade, or once it is gone from the store, it is built anew."""
    stand_in("podman", says([{"Id": "1" * 64}]))
    assert await built_image(PODMAN, tmp_path) is None
    content = content_of(parts())
    image = "sha256:" + "1" * 64
    ImageBook(tmp_path).built("podman", Built(image, "sha256:" + "2" * 64, "base"))
    assert await built_image(PODMAN, tmp_path) is None
    fresh = Built(image, content, "base")
    ImageBook(tmp_path).built("podman", fresh)
    assert await built_image(PODMAN, tmp_path) == fresh
    stand_in("podman", "exit 125")
    assert await built_image(PODMAN, tmp_path) is None


async def test_a_base_that_is_not_here_is_named(stand_in: Stand, tmp_path: Path) -> None:
    """And a build that fails says its last words; nothing is kept as built."""
    stand_in("podman", "exit 125")
    with pytest.raises(NoImage, match="mine:1"):
        await build_image(PODMAN, tmp_path, "mine:1")
    stand_in(
        "podman",
        f"case $1 in image) {says([{'Id': '1' * 64}])}\n;; *) echo no apt >&2; exit 1;; esac",
    )
    with pytest.raises(NoImage, match="no apt"):
        await build_image(PODMAN, tmp_path, "mine:1")
    assert ImageBook(tmp_path).read().built == {}


async def test_who_leaves_takes_the_image_along(stand_in: Stand, tmp_path: Path) -> None:
    """It is removed by the program that has it; one that is gone already is no trouble."""
    image = "sha256:" + "1" * 64
    named = says([{"Id": image, "RepoTags": []}])
    gone = f'case $* in *inspect*{image}) {named}\n;; *) echo "$@" >> {tmp_path}/asked;; esac'
    for does in (gone, "echo no such image >&2; exit 1"):
        stand_in("podman", does)
        ImageBook(tmp_path).built("podman", Built(image, image, "base"))
        assert await remove_built(tmp_path) == set()
        assert not (tmp_path / "images.json").exists()
    asked = (tmp_path / "asked").read_text()
    assert asked == f"image rm {own_name(tmp_path)}\nimage rm {image}\n"
    stand_in("podman", f'echo "$@" > {tmp_path}/asked')
    ImageBook(tmp_path).pin("docker.io/vllm/vllm-openai:v0.32.0", image)
    await remove_built(tmp_path)
    assert (tmp_path / "asked").read_text() == f"image rm docker.io/vllm/vllm-openai@{image}\n"
    await remove_built(tmp_path)


async def test_an_image_that_another_node_uses_stays(stand_in: Stand, tmp_path: Path) -> None:
    """The runtime refuses to remove it while another folder's name is on it, and that is told."""
    image = "sha256:" + "1" * 64
    named = says([{"Id": image, "RepoTags": [own_name(tmp_path / "another")]}])
    stand_in("podman", f'case $2 in inspect) {named}\n;; *) echo "$@" >> {tmp_path}/asked;; esac')
    ImageBook(tmp_path).built("podman", Built(image, image, "base"))
    assert await remove_built(tmp_path) == {image}
    assert (tmp_path / "asked").read_text() == f"image rm {own_name(tmp_path)}\n"


async def test_an_image_that_a_container_runs_stays(stand_in: Stand, tmp_path: Path) -> None:
    """It is never removed by force: the runtime's refusal stands, and is told."""
    image = "sha256:" + "1" * 64
    here = says([{"Id": image, "RepoTags": None}])
    stand_in("podman", f"case $2 in inspect) {here}\n;; *) [ $3 != {image} ];; esac")
    ImageBook(tmp_path).built("podman", Built(image, image, "base"))
    assert await remove_built(tmp_path) == {image}


async def test_a_broken_book_is_named(tmp_path: Path) -> None:
    """It is not taken for an empty one: a pin must not be lost in silence."""
    (tmp_path / "images.json").write_text("{")
    with pytest.raises(NoImage, match=r"images\.json"):
        ImageBook(tmp_path).read()


async def test_what_goes_in_is_what_was_installed() -> None:
    """The server's one file, the build file and xllamacpp, whose hashes came with its wheel."""
    found = {part.name for part in parts()}
    assert {"Containerfile", "llamacpp_server.py", "xllamacpp/__init__.py"} <= found
    assert all(len(part.digest) == 64 for part in parts())
