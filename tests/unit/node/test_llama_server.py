"""llama-server on cards: its command, word for word, and what its log is worth."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from garage_ai.catalog import Offload
from garage_ai.node.engines.llama_server import (
    AT_WORK,
    ServerOptions,
    Story,
    listed_devices,
    server_words,
)
from garage_ai.node.errors import NotPossible
from garage_ai.node.sandbox.argv import run_argv
from garage_ai.node.sandbox.order import Order, memory_limit
from garage_ai.node.sandbox.spec import ContainerSpec, Limits, Mount, Runtime
from garage_ai.wire.ids import Digest

GOLDEN = Path(__file__).parent / "sandbox" / "golden"
RECORDED = Path(__file__).parents[2] / "recorded" / "llama_server"
ALL = frozenset({"cpuset", "cpu", "io", "memory", "pids"})
PODMAN = Runtime("podman", (4, 9, 3), rootless=True, cgroups=2, controllers=ALL)
DOCKER = Runtime("docker", (28, 3, 0), rootless=False, cgroups=2, controllers=ALL)
GPUS = ("GPU-5e1f0c2a-0000-4000-8000-000000000001", "GPU-5e1f0c2a-0000-4000-8000-000000000002")

PLAN = Offload(
    places=(0,),
    split=(31,),
    of=31,
    context=4096,
    slots=8,
    cache_type="f16",
    weights=0,
    cache=0,
    other=0,
    room=0,
)
ONE = ServerOptions(
    weights=Path("/home/anna/garage/models/small.gguf"),
    name="small",
    digest=Digest("sha256:" + "a" * 64),
    kind="chat",
    threads=3,
    gpus=GPUS[:1],
    devices=GPUS[:1],
    plan=PLAN,
)
TWO = replace(
    ONE,
    gpus=GPUS,
    devices=GPUS,
    plan=replace(PLAN, places=(0, 1), split=(20, 11), cache_type="q8_0"),
)

CASES = {
    "llama-server-podman-one": (ONE, PODMAN),
    "llama-server-podman-two": (TWO, PODMAN),
    "llama-server-podman-wsl": (replace(ONE, devices=("all",)), PODMAN),
    "llama-server-docker-one": (ONE, DOCKER),
    "llama-server-docker-two": (TWO, DOCKER),
    "llama-server-docker-two-without-cdi": (TWO, replace(DOCKER, cdi=False)),
}


def order(options: ServerOptions, tmp_path: Path) -> Order:
    weights = tmp_path / "small.gguf"
    weights.write_bytes(b"")
    return replace(options, weights=weights).inside()


@pytest.mark.parametrize("name", CASES)
def test_the_command_is_what_was_agreed(name: str, tmp_path: Path) -> None:
    """Word for word; GAI_WRITE_GOLDEN=1 writes what it is now, for a person to read."""
    options, runtime = CASES[name]
    ordered = order(options, tmp_path)
    assert ordered.limits == Limits(memory=memory_limit(), cpus=4.0)
    spec = ContainerSpec(
        image="ghcr.io/ggml-org/llama.cpp@sha256:" + "1" * 64,
        name="gai-0123456789abcdef-engine",
        command=ordered.command,
        limits=Limits(memory=6 << 30, cpus=4.0),
        mounts=(
            Mount(Path("/home/anna/garage/run/engine"), "/run/gai", writable=True),
            Mount(options.weights, ordered.mounts[0].target),
        ),
        environment=ordered.environment,
        gpus=ordered.gpus,
        seccomp=Path("/home/anna/garage/seccomp.json") if runtime is PODMAN else None,
        labels=(("garage-ai.folder", "0123456789abcdef"),),
    )
    argv = "\n".join(run_argv(spec, runtime)) + "\n"
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("GAI_WRITE_GOLDEN"):
        file.write_text(argv)
    assert argv == file.read_text()


def test_it_is_never_run_bare() -> None:
    """What is installed beside the agent knows no cards."""
    with pytest.raises(NotPossible, match="container"):
        ONE.bare(Path("/run"))


def test_an_embedding_model_embeds() -> None:
    """One word more."""
    words = server_words(replace(ONE, kind="embedding"), "/models/m", "/run/gai/engine.sock")
    assert words[-1] == "--embedding"


def test_fewer_layers_are_said_as_planned() -> None:
    """The server is told a number, never to find one out."""
    part = replace(ONE, plan=replace(PLAN, split=(10,)))
    words = server_words(part, "/models/m", "/run/gai/engine.sock")
    assert words[words.index("--gpu-layers") + 1] == "10"
    assert words[words.index("--fit") + 1] == "off"


def told(text: str) -> Story:
    story = Story()
    for line in text.splitlines():
        story.hear(line)
    return story


def recorded(name: str) -> Story:
    return told((RECORDED / f"{name}.txt").read_text())


def test_all_layers_on_the_card_are_seen() -> None:
    """Whatever the type of the cache."""
    story = recorded("all-layers")
    assert story.complaint(PLAN) == ""
    assert (story.layers, story.of, story.cause) == (31, 31, "")
    assert recorded("cache-q8").complaint(PLAN) == ""


def test_fewer_layers_than_planned_are_not_served() -> None:
    """As many as planned are well, where that is fewer."""
    story = recorded("ten-layers")
    assert "10 of 31 layers" in story.complaint(PLAN)
    assert story.complaint(replace(PLAN, split=(10,))) == ""


def test_a_server_without_a_card_is_not_believed() -> None:
    """It says `offloaded 31/31 layers to GPU`, and all of it is in the PC's memory."""
    story = recorded("no-card")
    assert (story.layers, story.of) == (31, 31)
    assert "0 of 1 cards" in story.complaint(PLAN)


CUDA = """\
0.01.787.336 I llama_prepare_model_devices: using device CUDA0 (NVIDIA GeForce RTX 3090) \
(0000:01:00.0) - 23858 MiB free
0.01.787.341 I llama_prepare_model_devices: using device CUDA1 (NVIDIA GeForce RTX 3090) \
(0000:02:00.0) - 13850 MiB free
0.02.131.189 I load_tensors: offloaded 31/31 layers to GPU
0.02.131.236 I load_tensors:   CPU_Mapped model buffer size =    28.69 MiB
0.02.131.237 I load_tensors:        CUDA0 model buffer size =    52.10 MiB
"""
"""Lines of a PC with two cards, after the format strings and published logs."""


def test_each_card_must_have_its_share() -> None:
    """A card that holds nothing was given in vain, and the other has more than was planned."""
    both = replace(PLAN, places=(0, 1), split=(20, 11))
    assert "no weights" in told(CUDA).complaint(both)
    shared = CUDA + "I load_tensors:        CUDA1 model buffer size =    40.00 MiB\n"
    assert told(shared).complaint(both) == ""
    alone = told(CUDA.replace("CUDA1", "CUDA0"))
    assert "1 of 2 cards" in alone.complaint(both)


NO_MEMORY = """\
load_tensors: loading model tensors, this can take a while... (mmap = true, direct_io = false)
ggml_backend_cuda_buffer_type_alloc_buffer: allocating 144817.04 MiB on device 0: \
cudaMalloc failed: out of memory
alloc_tensor_range: failed to allocate CUDA0 buffer of size 151851674624
llama_model_load: error loading model: unable to allocate CUDA0 buffer
"""
"""From llama.cpp's issue 20431."""


def test_a_card_without_room_is_told_as_such() -> None:
    """Whoever plans anew can ask for less."""
    story = told(NO_MEMORY)
    assert story.out_of_memory
    assert not told(CUDA).out_of_memory


def test_the_first_error_is_the_cause() -> None:
    """What follows from it is not."""
    story = told(
        "0.00.054.100 E llama_model_load: error loading model: missing tensor 'blk.0.x'\n"
        "0.00.054.200 E srv  llama_server: exiting due to model loading error\n"
    )
    assert "missing tensor" in story.cause


def test_cards_are_read_from_the_servers_list() -> None:
    """With its own words for none; a line that is none of its own names nothing."""
    listed = "Available devices:\n  CUDA0: NVIDIA GeForce RTX 3090 (24124 MiB, 23858 MiB free)\n"
    assert listed_devices(listed) == ["CUDA0 NVIDIA GeForce RTX 3090"]
    real = "Available devices:\n  Vulkan0: llvmpipe (LLVM 15.0.6, 256 bits) (2048 MiB, 9 MiB free)"
    assert listed_devices(real) == ["Vulkan0 llvmpipe (LLVM 15.0.6, 256 bits)"]
    assert listed_devices("Available devices:\n  (none)\n") == []
    assert listed_devices("ggml_cuda_init: failed to initialize CUDA: no device\n") == []


def test_of_a_server_at_work_only_errors_are_kept() -> None:
    """Its other lines, and the rest of one that was broken up, may quote what it is asked."""
    assert AT_WORK.match(b"0.45.026.205 E srv    operator(): got exception\n")
    for line in (
        b"0.45.026.205 I slot print_timing: id  1 | task 0 | prompt eval time\n",
        b"0.45.026.205 W srv  params_from_: unknown field 'a secret'\n",
        b"my secret E is this\n",
    ):
        assert not AT_WORK.match(line)
