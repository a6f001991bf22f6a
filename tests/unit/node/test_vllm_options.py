"""What vLLM orders of a container: the whole command, as podman gets it, against a golden file."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from garage_ai.node.engines import vllm_options
from garage_ai.node.engines.vllm_options import VllmOptions
from garage_ai.node.engines.vllm_rank import Rank
from garage_ai.node.errors import NotPossible
from garage_ai.node.sandbox.containers import Containers
from garage_ai.node.sandbox.launcher import ContainerLauncher
from garage_ai.node.sandbox.spec import Runtime
from garage_ai.wire.ids import Digest

GOLDEN = Path(__file__).parent / "sandbox/golden/vllm-two-cards.txt"
ALL = frozenset({"cpuset", "cpu", "io", "memory", "pids"})
PODMAN = Runtime("podman", (4, 9, 3), rootless=True, cgroups=2, controllers=ALL)
GPUS = ("GPU-5e1f0c2a-0000-4000-8000-000000000001", "GPU-5e1f0c2a-0000-4000-8000-000000000002")
IMAGE = "docker.io/vllm/vllm-openai@sha256:" + "1" * 64


@pytest.fixture
def options(tmp_path: Path) -> VllmOptions:
    """A model whose files lie where Hugging Face's cache puts them: links to elsewhere."""
    blobs, folder = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    folder.mkdir()
    files = []
    for number, name in enumerate(("config.json", "model.safetensors")):
        (blobs / str(number)).write_bytes(b"x")
        (folder / name).symlink_to(blobs / str(number))
        files.append((name, folder / name))
    template = tmp_path / "mine.jinja"
    template.write_text("{{ messages }}")
    return VllmOptions(
        folder=folder,
        files=tuple(files),
        name="qwen3-8b",
        digest=Digest("sha256:" + "0" * 64),
        kind="chat",
        slots=8,
        context=16_384,
        tensor_parallel=2,
        memory_share=0.9,
        chat_template=template,
        gpus=GPUS,
    )


def command(options: VllmOptions, tmp_path: Path) -> tuple[str, ...]:
    launcher = ContainerLauncher(Containers(PODMAN, tmp_path), IMAGE, tmp_path / "run")
    return launcher.argv(options)


TOGETHER = (
    "--distributed-executor-backend mp --nnodes 2 --node-rank {rank} "
    "--master-addr 10.213.1.20 --master-port 29500"
)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_of_two_rigs(options: VllmOptions, tmp_path: Path, rank: int) -> None:
    """`vllm serve` with its number, in a network of the gang's; only the first has an API."""
    address = f"10.213.1.2{rank}"
    own = Rank(rank, 2, "10.213.1.20", address, "gai01234567")
    network = Path("/run/netns/gai-01234567")
    said = command(replace(options, rank=own, network=network), tmp_path)
    words = TOGETHER.format(rank=rank).split()
    assert list(said[-len(words) - rank :]) == words + ["--headless"] * rank
    run = said.index("-m")
    assert said[run + 1 : run + 4] == (
        "vllm.entrypoints.cli.main",
        "serve",
        "/models/qwen3-8b",
    )
    assert "--network=ns:/run/netns/gai-01234567" in said
    assert "--network=none" not in said
    environment = dict(word[len("--env=") :].split("=", 1) for word in said if "--env=" in word)
    assert environment["VLLM_HOST_IP"] == address
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        assert environment[name] == "gai01234567"


def test_the_command_is_what_was_agreed(
    options: VllmOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Word for word; GAI_WRITE_GOLDEN=1 writes what it is now, for a person to read."""
    monkeypatch.setattr(vllm_options, "memory_limit", lambda: 24 << 30)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    source = str(Path(vllm_options.__file__).parent)
    tag = Containers(PODMAN, tmp_path).tag
    text = "\n".join(command(options, tmp_path)) + "\n"
    for here, there in ((source, "/src"), (str(tmp_path), "/node"), (tag, "0123456789abcdef")):
        text = text.replace(here, there)
    text = text.replace(f"garage-ai.agent={os.getpid()}", "garage-ai.agent=1")
    if os.environ.get("GAI_WRITE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_only_the_models_own_files_are_seen(options: VllmOptions, tmp_path: Path) -> None:
    """Not the folder, with whatever else lies in it; and none of them can be written to."""
    (options.folder / "other.safetensors").write_bytes(b"x")
    mounts = [word for word in command(options, tmp_path) if word.startswith("--mount=")]
    assert not any("other" in word for word in mounts)
    writable = [word for word in mounts if not word.endswith(",readonly")]
    assert writable == [f"--mount=type=bind,src={tmp_path}/run/engine,dst=/run/gai"]
    assert any(f"src={tmp_path}/blobs/1,dst=/models/qwen3-8b/model" in word for word in mounts)


def test_a_file_that_nobody_else_may_read_is_named(options: VllmOptions, tmp_path: Path) -> None:
    """The engine's user inside is another than the owner."""
    (tmp_path / "blobs/1").chmod(0o600)
    with pytest.raises(NotPossible, match="chmod o"):
        command(options, tmp_path)


@pytest.mark.parametrize("rank", [None, Rank(0, 2, "10.213.1.20", "10.213.1.20", "gai01234567")])
def test_a_pipeline_is_told_its_layers(
    options: VllmOptions, tmp_path: Path, rank: Rank | None
) -> None:
    """Over the cards of one rig as over those of several."""
    piped = replace(options, pipeline_parallel=2, layers=(5, 3), rank=rank)
    said = command(piped, tmp_path)
    assert said[said.index("--pipeline-parallel-size") + 1] == "2"
    assert "--env=VLLM_PP_LAYER_PARTITION=5,3" in said
    alone = command(replace(options, rank=rank), tmp_path)
    assert "--pipeline-parallel-size" not in alone
    assert not any("LAYER_PARTITION" in word for word in alone)


def test_more_cards_have_more_shared_memory(options: VllmOptions) -> None:
    """Workers of one model exchange what they have computed there."""
    sizes = [
        replace(options, tensor_parallel=count).inside().limits.shm >> 30 for count in (1, 2, 4)
    ]
    assert sizes == [2, 3, 5]
    piped = replace(options, pipeline_parallel=2)
    assert piped.inside().limits.shm >> 30 == 5
    half = replace(piped, rank=Rank(1, 2, "10.213.1.20", "10.213.1.21", "gai01234567"))
    assert half.inside().limits.shm >> 30 == 3
