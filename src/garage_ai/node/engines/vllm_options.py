"""How vLLM is run on this PC, bare and in a container: argv, environment, mounts. Pure, but for
the paths of files that go into the container.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from garage_ai.catalog import Place, Unweighed, Weighed
from garage_ai.node.engines.launch import SOCKET, Command
from garage_ai.node.engines.vllm_python import quiet_environment
from garage_ai.node.engines.vllm_rank import Rank
from garage_ai.node.sandbox.order import INSIDE, MODELS, RUN, Order, memory_limit, readable
from garage_ai.node.sandbox.spec import CACHE, GIBI, MEBI, Limits, Mount
from garage_ai.wire.ids import Digest
from garage_ai.wire.messages import ModelKind

MARK: Final = "GARAGE_AI_RUN"
"""Names the folder of the agent that an engine's process belongs to, in its environment."""

SERVER: Final = "vllm.entrypoints.openai.api_server"
COMMAND: Final = "vllm.entrypoints.cli.main"
"""What the `vllm` command runs. Its `serve` alone knows ranks without an API; builds for other
devices come without the metadata that it asks for, so that a vLLM on its own is not run by it."""

PYTHON: Final = "/usr/bin/python3"
"""What the official image has vLLM installed for (docker/Dockerfile, vllm-base)."""

_WARDEN: Final = Path(__file__).with_name("warden.py")
_MAX_CHOICES: Final = 128
_MAX_LOGPROBS: Final = 20

_PIDS: Final = 2048
"""Threads of all processes: server, core and a worker for each card, each with pools as wide as the
processor, and as many compilers while kernels are made."""

_SHM: Final = 2 * GIBI
"""What vLLM's own manifests give one server (docs/deployment/k8s.md); workers and NCCL talk there,
since GeForce cards cannot reach each other's memory."""

_SHM_MORE: Final = GIBI
"""For each card beyond the first."""

_CACHE: Final = 2 * GIBI
"""Compiled kernels and graphs, which are loaded from where they are written. They go with the
container: what one run has written no other one runs, and no disk can be filled."""

_OFFLINE: Final = {
    "TRANSFORMERS_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1",
    "VLLM_MAX_N_SEQUENCES": str(_MAX_CHOICES),
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
}

_INSIDE: Final = {
    "HOME": CACHE,
    # Compilers write here what is then loaded, which /tmp does not allow.
    "TMPDIR": CACHE,
    # There is nothing but loopback, and nobody to ask what the host's name means.
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_SOCKET_IFNAME": "lo",
}


@dataclass(frozen=True, slots=True)
class Lent:
    """Cards of a PC, in the order in which the engine counts them, and the model they are for."""

    cards: tuple[Place, ...]
    model: Weighed | Unweighed


@dataclass(frozen=True, slots=True)
class VllmOptions:
    """How vLLM is run; `memory_share` None on a CPU, `cache_gib` and `threads` None elsewhere.

    `python` is that of vLLM's environment, None for a container's own. `files` are the model's, by
    their paths in `folder`. `gpus` are the UUIDs of the cards that a container gets, `devices` what
    the runtime calls them, if not that. `rank` is this rig's among several that run the model
    together; a container's `network` is then theirs.
    `layers` of each stage of a pipeline, if the engine does not deal them out. `lent` is what this
    PC has for such a group to plan with.
    """

    folder: Path
    name: str
    digest: Digest
    kind: ModelKind
    slots: int
    context: int
    python: Path | None = None
    files: tuple[tuple[str, Path], ...] = ()
    dtype: str = "auto"
    tensor_parallel: int = 1
    memory_share: float | None = None
    cache_gib: int | None = None
    threads: int | None = None
    chat_template: Path | None = None
    gpus: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    pipeline_parallel: int = 1
    layers: tuple[int, ...] = ()
    rank: Rank | None = None
    network: Path | None = None
    lent: Lent | None = None

    @property
    def on_cpu(self) -> bool:
        """Whether no card is used."""
        return self.cache_gib is not None

    @property
    def _workers(self) -> int:
        """How many processes compute here, one for each card."""
        nodes = 1 if self.rank is None else self.rank.nodes
        return self.tensor_parallel * self.pipeline_parallel // nodes

    def bare(self, folder: Path) -> Command:
        """Say what is run here, in `folder`, where its socket is to be."""
        warden = (sys.executable, "-I", "-S", str(_WARDEN), str(os.getpid()))
        words = argv(self, str(self.python), self.folder, self.chat_template, f"./{SOCKET}")
        return Command((*warden, *words), environment(self, folder, os.environ))

    def inside(self) -> Order:
        """Say what is run in a container, its socket in RUN. Raises: NotPossible."""
        model = f"{MODELS}/{self.name}"
        mounts = [Mount(readable(_WARDEN), f"{INSIDE}/{_WARDEN.name}")]
        # Each file by itself: a folder of Hugging Face's cache holds but links to elsewhere.
        mounts += [Mount(readable(path), f"{model}/{name}") for name, path in self.files]
        template = None
        if self.chat_template is not None:
            template = Path(f"{INSIDE}/chat_template.jinja")
            mounts.append(Mount(readable(self.chat_template), str(template)))
        warden = (PYTHON, "-I", "-S", f"{INSIDE}/{_WARDEN.name}", "stdin")
        words = argv(self, PYTHON, Path(model), template, f"{RUN}/{SOCKET}")
        own = _INSIDE | _OFFLINE | _processor(self) | _together(self)
        return Order(
            (*warden, *words),
            self._limits(),
            tuple(mounts),
            tuple(own.items()),
            self.devices or self.gpus,
            self.network,
        )

    def _limits(self) -> Limits:
        return Limits(
            memory=memory_limit(),
            pids=_PIDS,
            # One core stays the owner's, as for llama.cpp.
            cpus=float(self.threads + 1 if self.threads else max(1, (os.cpu_count() or 2) - 1)),
            shm=_SHM + _SHM_MORE * (self._workers - 1),
            tmp=64 * MEBI,
            cache=_CACHE,
        )


def argv(
    options: VllmOptions, python: str, model: Path, template: Path | None, socket: str
) -> list[str]:
    """Give the command that serves on a unix socket, with the paths as it will see them."""
    words = [python, "-m", SERVER, "--model", str(model)]
    if options.rank is not None:
        words = [python, "-m", COMMAND, "serve", str(model)]
    pairs: dict[str, object] = {
        "--served-model-name": options.name,
        "--uds": socket,
        "--load-format": "safetensors",
        "--dtype": options.dtype,
        "--max-model-len": options.context,
        "--max-num-seqs": options.slots,
        "--tensor-parallel-size": options.tensor_parallel,
        "--max-logprobs": _MAX_LOGPROBS,
        "--scheduling-policy": "priority",
    }
    if options.memory_share is not None:
        pairs["--gpu-memory-utilization"] = options.memory_share
    if template is not None:
        pairs["--chat-template"] = template
    words += [str(word) for pair in pairs.items() for word in pair]
    words += ["--enable-prefix-caching", "--no-enable-log-requests", "--disable-uvicorn-access-log"]
    words.append("--disable-fastapi-docs")
    if options.pipeline_parallel > 1:
        words += ["--pipeline-parallel-size", str(options.pipeline_parallel)]
    if options.rank is not None:
        words += options.rank.words
    return [*words, "--enforce-eager"] if options.on_cpu else words


def environment(options: VllmOptions, run: Path, around: Mapping[str, str]) -> dict[str, str]:
    """Give the environment to serve in without a container; `around` is the agent's own."""
    own = _OFFLINE | _processor(options) | _together(options)
    return quiet_environment(around) | {MARK: str(run)} | own


def _together(options: VllmOptions) -> dict[str, str]:
    own = {} if options.rank is None else options.rank.environment
    if options.layers:
        own["VLLM_PP_LAYER_PARTITION"] = ",".join(map(str, options.layers))
    return own


def _processor(options: VllmOptions) -> dict[str, str]:
    own = {}
    if options.cache_gib is not None:
        own["VLLM_CPU_KVCACHE_SPACE"] = str(options.cache_gib)
    if options.threads is not None:
        own["OMP_NUM_THREADS"] = str(options.threads)
    return own


__all__ = ["COMMAND", "MARK", "PYTHON", "SERVER", "Lent", "VllmOptions", "argv", "environment"]
