"""llama.cpp's own server on cards, in its makers' image: the command, and what it says. Pure.

Options and lines after llama.cpp b9603 to b11434: common/arg.cpp, src/llama-model.cpp,
src/llama-kv-cache.cpp. The lines are believed only so far as to refuse: a server that says it put
layers on a card says so also where it found no card, so the buffers it made are what counts.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from garage_ai.catalog import Offload
from garage_ai.node.engines.launch import SOCKET, Command
from garage_ai.node.errors import NotPossible
from garage_ai.node.sandbox.order import RUN, Order, memory_limit, weights
from garage_ai.node.sandbox.spec import Limits
from garage_ai.wire.ids import Digest
from garage_ai.wire.messages import ModelKind

PROGRAM: Final = "/app/llama-server"

HELD: Final = (
    'umask 111; rm -f "$0"; exec 3<&0; "$@" </dev/null 3<&- & engine=$!; '
    "(read -r _ <&3; kill -9 $engine) 2>/dev/null & held=$!; exec 3<&-; "
    'trap "kill -9 $engine" TERM INT; wait $engine; status=$?; kill $held 2>/dev/null; exit $status'
)
"""What the image's shell runs as the first process: the server ends with its stdin, or a signal.

$0 is the socket, the rest the server's command. It never reads stdin itself, and as the first
process of a container it would not hear of its end.
"""

_ENVIRONMENT: Final = (("CUDA_DEVICE_ORDER", "PCI_BUS_ID"),)
"""NVML's order; CUDA's own is the fastest first, and shares are told to cards by their place."""

_TRACE: Final = 4
"""llama.cpp's verbosity at which it tells where layers and buffers are."""

_PROMPT_CACHE_MIB: Final = 256
_SPARE_HTTP_THREADS: Final = 4


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How llama.cpp is run on cards; `gpus` are their UUIDs, `devices` what the runtime calls them.

    `plan` says how much of the model is on them.
    """

    weights: Path
    name: str
    digest: Digest
    kind: ModelKind
    threads: int
    gpus: tuple[str, ...]
    devices: tuple[str, ...]
    plan: Offload
    beside: tuple[Path, ...] = ()

    @property
    def slots(self) -> int:
        """Requests at a time."""
        return self.plan.slots

    @property
    def context(self) -> int:
        """Tokens of each."""
        return self.plan.context

    def bare(self, folder: Path) -> Command:
        """Refuse: what is installed beside the agent computes on the processor. Raises: always."""
        raise NotPossible(
            "llama.cpp on a card runs in a container, not in {folder}.",
            folder=folder,
        )

    def inside(self) -> Order:
        """Say what is run in a container, its socket in RUN. Raises: NotPossible."""
        mounts = tuple(weights(path) for path in (self.weights, *self.beside))
        socket = f"{RUN}/{SOCKET}"
        command = held(socket, (PROGRAM, *server_words(self, mounts[0].target, socket)))
        limits = Limits(memory=memory_limit(), cpus=float(self.threads + 1))
        return Order(command, limits, mounts, _ENVIRONMENT, self.devices)


def held(socket: str, command: tuple[str, ...]) -> tuple[str, ...]:
    """Make a command end with its stdin, by the shell of whatever image it is in."""
    return ("/bin/sh", "-c", HELD, socket, *command)


def look_inside() -> tuple[str, ...]:
    """Make the command that lists the cards the server can use."""
    return (PROGRAM, "--list-devices")


def server_words(options: ServerOptions, model: str, socket: str) -> list[str]:
    """Say the options to llama-server, with the paths as it will see them."""
    plan = options.plan
    words: dict[str, object] = {
        "--model": model,
        "--alias": options.name,
        "--host": socket,
        "--ctx-size": plan.slots * plan.context,
        "--parallel": plan.slots,
        "--gpu-layers": plan.layers,
        # What was planned is what is meant: it must not shrink what does not fit by itself.
        "--fit": "off",
        "--cache-type-k": plan.cache_type,
        "--cache-type-v": plan.cache_type,
        "--flash-attn": "auto" if plan.cache_type == "f16" else "on",
        "--threads": options.threads,
        "--threads-http": plan.slots + _SPARE_HTTP_THREADS,
        "--cache-ram": _PROMPT_CACHE_MIB,
        "--log-verbosity": _TRACE,
        "--log-colors": "off",
    }
    if len(plan.split) > 1:
        words |= {"--split-mode": "layer", "--tensor-split": ",".join(map(str, plan.split))}
    argv = [str(word) for pair in words.items() for word in pair]
    argv += ["--log-prefix", "--log-timestamps", "--metrics", "--no-slots", "--no-webui"]
    argv.append("--offline")
    return [*argv, "--embedding"] if options.kind == "embedding" else argv


_LISTED: Final = re.compile(r"^ +(\w+): (.+) \((\d+) MiB, (\d+) MiB free\)$", re.MULTILINE)
_MIB: Final = 1 << 20


def listed_devices(text: str) -> list[str]:
    """Name the cards that `llama-server --list-devices` prints."""
    return [f"{name} {card}" for name, card, _, _ in _LISTED.findall(text)]


AT_WORK: Final = re.compile(rb"^[\d.]+ E ")
"""The lines that are kept of a server at work, its errors: others may quote what it is asked."""

_DEVICE: Final = re.compile(r"using device (\w+) \((.{1,80}?)\)")
_LAYERS: Final = re.compile(r"offloaded (\d{1,5})/(\d{1,5}) layers to GPU")
_WEIGHTS: Final = re.compile(r"(\w+) +model buffer size = ")
_ERROR: Final = re.compile(r"^[\d.]+ E (?:\w+ +)?(.{1,300})$")
_NO_MEMORY: Final = re.compile(
    r"out of memory|OutOfDeviceMemory|unable to allocate \w+ buffer|failed to allocate"
)
_NO_CUDA: Final = re.compile(
    r"no usable GPU found|failed to initialize CUDA|no CUDA-capable device"
)


class Story:
    """One start of llama-server, as its log tells it."""

    def __init__(self) -> None:
        self.layers = 0
        self.of = 0
        self.cause = ""
        self._devices: set[str] = set()
        self._loaded: set[str] = set()

    def hear(self, line: str) -> None:
        """Take a line."""
        if device := _DEVICE.search(line):
            self._devices.add(device[1])
        elif layers := _LAYERS.search(line):
            self.layers, self.of = int(layers[1]), int(layers[2])
        elif holder := _WEIGHTS.search(line):
            self._loaded.add(holder[1])
        elif not self.cause and (found := _NO_MEMORY.search(line) or _NO_CUDA.search(line)):
            self.cause = found[0]
        elif not self.cause and (error := _ERROR.search(line)):
            self.cause = error[1].strip()

    @property
    def out_of_memory(self) -> bool:
        """Whether a card had less room than was planned with."""
        return _NO_MEMORY.search(self.cause) is not None

    def complaint(self, plan: Offload) -> str:
        """Say what of the plan is not so; empty where all of it is."""
        if len(self._devices) < len(plan.split):
            return (
                f"llama.cpp found {len(self._devices)} of {len(plan.split)} cards; "
                "what would be on them is on the processor"
            )
        if len(self._loaded & self._devices) < sum(1 for count in plan.split if count):
            return "llama.cpp put no weights on a card it was given"
        if (self.layers, self.of) != (plan.layers, plan.of):
            return f"llama.cpp put {self.layers} of {self.of} layers on cards, not {plan.layers}"
        return ""


__all__ = [
    "AT_WORK",
    "HELD",
    "PROGRAM",
    "ServerOptions",
    "Story",
    "held",
    "listed_devices",
    "look_inside",
    "server_words",
]
