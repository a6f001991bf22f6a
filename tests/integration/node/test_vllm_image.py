"""vLLM's image: which one is run, and what it says it has; small programs stand in for podman.

The real one runs in `tests/e2e/test_vllm_sandbox.py`.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.integration.node.test_sandbox import OLD, PODMAN, says, stand_in
from tests.parts.folders import model_folder
from tests.parts.job_caller import until
from typer.testing import CliRunner

from garage_ai.cli.node import app
from garage_ai.node import setup
from garage_ai.node.engines import devices
from garage_ai.node.engines.port import Device
from garage_ai.node.engines.vllm import VllmEngine
from garage_ai.node.errors import EngineMissing, EngineUnfit, NoImage, NoRuntime, NotPossible
from garage_ai.node.fitting import machines
from garage_ai.node.folder import Choice, NodeFolder
from garage_ai.node.hardware.models import Gpu, Gpus
from garage_ai.node.preflight.models import CdiSpec
from garage_ai.node.sandbox.containers import Containers
from garage_ai.node.sandbox.images import ImageBook
from garage_ai.node.sandbox.launcher import ContainerLauncher
from garage_ai.node.sandbox.vllm_image import choose_image, facts_inside, vllm_image
from garage_ai.node.setup import check, make_engine

__all__ = ["stand_in"]

pytestmark = pytest.mark.anyio

Stand = Callable[[str, str], None]
GIB = 1 << 30
MINE = "sha256:" + "3" * 64
DIGEST = "sha256:" + "4" * 64
OFFICIAL = f"docker.io/vllm/vllm-openai@{DIGEST}"
RTX_3090 = Gpu(name="NVIDIA GeForce RTX 3090", uuid="GPU-1", total=24 * GIB, free=23 * GIB)
GTX_1080 = Gpu(
    name="NVIDIA GeForce GTX 1080", uuid="GPU-2", total=8 * GIB, free=8 * GIB, compute=(6, 1)
)


@pytest.fixture
def launcher(tmp_path: Path) -> ContainerLauncher:
    return ContainerLauncher(Containers(PODMAN, tmp_path), MINE, tmp_path / "run")


def holds(**facts: object) -> str:
    """A podman whose container, given the probe on its stdin, says this."""
    return f"cat > /dev/null\n{says(facts)}"


async def test_an_own_image_is_kept_by_its_id(stand_in: Stand, tmp_path: Path) -> None:
    """Its name may come to mean other bytes; once it is gone from the store, that is said."""
    stand_in("podman", says([{"Id": MINE.removeprefix("sha256:")}]))
    assert await choose_image(PODMAN, tmp_path, "localhost/mine:1") == MINE
    assert await vllm_image(PODMAN, tmp_path) == MINE
    stand_in("podman", "exit 125")
    with pytest.raises(NoImage, match="gone"):
        await vllm_image(PODMAN, tmp_path)
    with pytest.raises(NoImage, match="mine:2"):
        await choose_image(PODMAN, tmp_path, "mine:2")


async def test_else_it_is_the_official_one_pinned_at_the_first_pull(
    stand_in: Stand, tmp_path: Path
) -> None:
    """The owner is told what is fetched; the second time nothing is."""
    ImageBook(tmp_path).own("podman", "sha256:" + "3" * 64)
    inspected = says([{"Id": "5" * 64, "RepoDigests": [OFFICIAL]}])
    stand_in("podman", f"case $1 in pull) echo $@ >> {tmp_path}/pulls;; *) {inspected}\n;; esac")
    told: list[str] = []
    assert await choose_image(PODMAN, tmp_path, None, told.append) == OFFICIAL
    assert await vllm_image(PODMAN, tmp_path, told.append) == OFFICIAL
    assert told == ["docker.io/vllm/vllm-openai:v0.32.0"]
    assert (tmp_path / "pulls").read_text().count("\n") == 1


async def test_it_is_pinned_as_its_own_repository_has_it(stand_in: Stand, tmp_path: Path) -> None:
    """Another may have the same image under another digest, which nobody could pull by this name.

    docker names its own registry's repositories without it.
    """
    other = "ghcr.io/somebody/mirror@sha256:" + "6" * 64
    short = OFFICIAL.removeprefix("docker.io/")
    stand_in("podman", says([{"Id": "5" * 64, "RepoDigests": [other, short]}]))
    assert await choose_image(PODMAN, tmp_path, None) == OFFICIAL


def test_the_command_keeps_an_image_of_ones_own(
    stand_in: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`gai node image --engine vllm` says which image vLLM runs from; without --base it is told
    what is fetched."""
    # The runner's stderr is closed after each command, and loggers keep the one they were made for.
    monkeypatch.setattr("garage_ai.cli.node_run.configure_logs", lambda: None)
    info = says(OLD | {"version": {"Version": "4.9.3"}})
    mine = says([{"Id": MINE.removeprefix("sha256:"), "RepoDigests": [OFFICIAL]}])
    stand_in("podman", f"case $1 in info) {info}\n;; image) {mine}\n;; esac")
    words = ["image", "--engine", "vllm", "--data-dir", str(tmp_path / "node")]
    own = CliRunner().invoke(app, [*words, "--base", "localhost/mine:1", "--json"])
    assert json.loads(own.stdout) == {"image": MINE}
    official = CliRunner().invoke(app, words)
    assert OFFICIAL in official.stdout
    assert "fetching docker.io/vllm/vllm-openai:v0.32.0" in official.output


async def test_an_image_is_asked_for_version_and_device(
    stand_in: Stand, launcher: ContainerLauncher
) -> None:
    """The cards are those of NVML, by their UUIDs; what a driver leaves out is known of old."""
    stand_in("podman", holds(version="0.32.0", device="cuda"))
    facts = await facts_inside(launcher, (RTX_3090, GTX_1080))
    (card,) = facts.cards
    assert (facts.version, card.uuid, card.capability) == ("0.32.0", "GPU-1", (8, 6))
    with pytest.raises(NotPossible, match="GTX 1080 is too old"):
        await facts_inside(launcher, (GTX_1080,))


@pytest.mark.parametrize(
    ("does", "error", "words"),
    [
        (holds(version="0.31.0", device="cuda"), EngineUnfit, "too old"),
        (holds(version=""), EngineMissing, "no vLLM"),
        ("cat > /dev/null; echo hello", EngineUnfit, "does not say"),
        ("cat > /dev/null; echo no python >&2; exit 127", EngineUnfit, "no python"),
        (holds(version="0.32.0", device="cpu"), NotPossible, "RTX 3090 would do nothing"),
    ],
)
async def test_an_image_that_will_not_do_is_refused(
    stand_in: Stand, launcher: ContainerLauncher, does: str, error: type[Exception], words: str
) -> None:
    """An old vLLM, none, an image of another thing, a processor's on a PC with a card."""
    stand_in("podman", does)
    with pytest.raises(error, match=words):
        await facts_inside(launcher, (RTX_3090,))


async def test_an_engine_is_made_for_the_container(
    stand_in: Stand, launcher: ContainerLauncher, tmp_path: Path
) -> None:
    """Out of what the image has, with the fence of its launcher; what cannot start is said now."""
    stand_in("podman", f"case $1 in run) {holds(version='0.32.0', device='cpu')}\n;; esac")
    model = model_folder(tmp_path / "Small")
    choice = Choice(engine="vllm", models=(str(model),), slots=2)
    folder = NodeFolder(tmp_path / "node")
    engine = await make_engine(choice, "m", folder, launcher=launcher)
    assert isinstance(engine, VllmEngine)
    assert engine.fence.kind == "podman"
    (model / "config.json").chmod(0o600)
    with pytest.raises(NotPossible, match="chmod o"):
        await make_engine(choice, "m", folder, launcher=launcher)


def described(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Have a description of the PC's one card that calls it so."""
    monkeypatch.setattr(devices, "read_gpus", lambda: card_with(GIB))
    spec = CdiSpec("/etc/cdi/nvidia.yaml", "", names)
    monkeypatch.setattr(devices, "read_cdi", lambda _: (spec,))


def card_with(free: int) -> Gpus:
    """Give a PC's one card with so many bytes free."""
    return Gpus(source="nvml", cards=(msgspec.structs.replace(RTX_3090, free=free),))


async def test_what_a_dead_agent_left_is_gone_before_memory_is_counted(
    stand_in: Stand, launcher: ContainerLauncher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its container holds the card, and what it leaves would be too little for ever."""
    left = tmp_path / "left"
    left.touch()
    gone = f"rm) rm -f {left};; ps) [ ! -e {left} ] || echo 1234;;"
    stand_in("podman", f"case $1 in {gone} *) {holds(version='0.32.0', device='cuda')}\n;; esac")
    monkeypatch.setattr(setup, "read_gpus", lambda: card_with((2 if left.exists() else 23) * GIB))
    described(monkeypatch, RTX_3090.uuid)
    choice = Choice(engine="vllm", models=(str(model_folder(tmp_path / "Small")),))
    engine = await make_engine(choice, "m", NodeFolder(tmp_path / "node"), launcher=launcher)
    assert engine.device == Device(("GPU-1",))
    assert not left.exists()


async def test_each_start_takes_of_the_card_what_is_free_then(
    stand_in: Stand, launcher: ContainerLauncher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share that was free before a game is refused for ever where the desktop has grown since."""
    tried = tmp_path / "tried"
    facts = holds(version="0.32.0", device="cuda")
    # The third start does not fail, and is found.
    serve = f"echo $@ >> {tried}; [ $(grep -c . {tried}) -lt 3 ] || exec sleep 60; exit 1"
    run = f'case "$@" in *--uds*) {serve};; *) {facts}\n;; esac'
    stand_in("podman", f"case $1 in run) {run};; container) echo 1;; esac")
    free = iter((23, 4, 17))
    monkeypatch.setattr(setup, "read_gpus", lambda: card_with(next(free) * GIB))
    described(monkeypatch, RTX_3090.uuid)
    choice = Choice(engine="vllm", models=(str(model_folder(tmp_path / "Small")),))
    engine = await make_engine(choice, "m", NodeFolder(tmp_path / "node"), launcher=launcher)
    assert isinstance(engine, VllmEngine)
    await engine.start()
    try:
        await until(lambda: 1 in engine.pids, 30)
    finally:
        await engine.stop()
    shares = re.findall("--gpu-memory-utilization ([0-9.]+)", tried.read_text())
    assert shares == ["0.92", "0.14", "0.68"]


LOOKED = (
    "ValueError: Free memory on device cuda:1 (19.77/23.56 GiB) on startup is less than desired "
    "GPU memory utilization (0.92, 21.67 GiB)."
)
FULL = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."


@pytest.mark.parametrize("case", [(LOOKED, "0.83"), (FULL, "0.89")], ids=["looked", "full"])
async def test_what_vllm_lacked_though_nobody_took_it_is_left_to_it_at_the_next_start(
    stand_in: Stand,
    launcher: ContainerLauncher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: tuple[str, str],
) -> None:
    """Else it asks for the same share for ever; what a game took meanwhile is not counted so."""
    lacks, share = case
    tried = tmp_path / "tried"
    facts = holds(version="0.32.0", device="cuda")
    # The second failure comes with a game, whose memory is not counted for vLLM's own.
    game = tmp_path / "game"
    fails = f"[ $(grep -c . {tried}) -lt 2 ] || touch {game}; echo '{lacks}'; exit 1"
    serve = f"echo $@ >> {tried}; [ $(grep -c . {tried}) -lt 3 ] || exec sleep 60; {fails}"
    run = f'case "$@" in *--uds*) {serve};; *) {facts}\n;; esac'
    stand_in("podman", f"case $1 in run) {run};; container) echo 1;; esac")
    monkeypatch.setattr(setup, "read_gpus", lambda: card_with(23 * GIB))
    monkeypatch.setattr(
        machines, "read_gpus", lambda: card_with((20 if game.exists() else 23) * GIB)
    )
    described(monkeypatch, RTX_3090.uuid)
    choice = Choice(engine="vllm", models=(str(model_folder(tmp_path / "Small")),))
    engine = await make_engine(choice, "m", NodeFolder(tmp_path / "node"), launcher=launcher)
    assert isinstance(engine, VllmEngine)
    await engine.start()
    try:
        await until(lambda: 1 in engine.pids, 30)
    finally:
        await engine.stop()
    shares = re.findall("--gpu-memory-utilization ([0-9.]+)", tried.read_text())
    assert shares == ["0.92", share, share]


@pytest.mark.parametrize("name", [RTX_3090.uuid, "all"])
async def test_the_container_gets_a_card_by_the_name_it_has_there(
    stand_in: Stand,
    launcher: ContainerLauncher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """Inside WSL2 that is `all`, with the guard still watching the card by its UUID."""
    tried = tmp_path / "tried"
    run = f'case "$@" in *--uds*) echo $@ >> {tried}; exec sleep 60;; '
    run += f"*) {holds(version='0.32.0', device='cuda')}\n;; esac"
    stand_in("podman", f"case $1 in run) {run};; container) echo 1;; esac")
    monkeypatch.setattr(setup, "read_gpus", lambda: card_with(23 * GIB))
    described(monkeypatch, name)
    choice = Choice(engine="vllm", models=(str(model_folder(tmp_path / "Small")),))
    engine = await make_engine(choice, "m", NodeFolder(tmp_path / "node"), launcher=launcher)
    assert engine.device == Device((RTX_3090.uuid,))
    await engine.start()
    try:
        await until(lambda: tried.exists() and "--uds" in tried.read_text(), 30)
    finally:
        await engine.stop()
    assert re.findall(r"nvidia\.com/gpu=(\S+)", tried.read_text()) == [name]


async def test_an_environment_and_a_container_exclude_each_other(stand_in: Stand) -> None:
    """And a preflight looks for what runs containers before anything is enrolled."""
    choice = Choice(engine="vllm", models=("m",))
    with pytest.raises(NoRuntime):
        await check(choice)
    stand_in("podman", says(OLD | {"version": {"Version": "4.9.3"}}))
    await check(choice)
    with pytest.raises(NotPossible, match="--sandbox none"):
        await check(Choice(engine="vllm", models=("m",), vllm_python="/usr/bin/python3"))
