"""What is known about a PC before it serves, and what follows from it."""

from typing import Final, Literal

import msgspec

from garage_ai.node.folder import SandboxChoice
from garage_ai.node.hardware.models import Pc

CheckId = Literal[
    "os",
    "python",
    "folder",
    "disk",
    "gpu",
    "driver",
    "compute",
    "vram",
    "container",
    "cdi",
    "userns",
    "subids",
    "cgroup",
    "linger",
    "clock",
    "gateway",
    "nats",
]
State = Literal["ok", "warn", "fail"]
EngineKind = Literal["external", "llamacpp", "vllm"]
CgroupKind = Literal["v2", "hybrid", "v1", "none"]

_ALWAYS: Final[frozenset[CheckId]] = frozenset({"os", "python", "folder", "gateway", "nats"})

FIRST: Final[frozenset[CheckId]] = _ALWAYS | {"disk"}
"""What is looked at before a node is enrolled: of the rest the engine's own set-up knows more."""

SANDBOX: Final[frozenset[CheckId]] = frozenset({"container", "userns", "subids"})
"""What a sandbox cannot do without; one with cards in it needs their description as well."""

NEEDS: Final[dict[EngineKind, frozenset[CheckId]]] = {
    "external": _ALWAYS,
    "llamacpp": FIRST | SANDBOX,
    "vllm": FIRST | SANDBOX | {"gpu", "driver", "compute", "cdi"},
}
"""What an engine cannot do without; all else is told as advice."""


CARD: Final[frozenset[CheckId]] = frozenset({"gpu", "driver", "compute", "cdi"})
"""What an engine cannot do without on a PC that has a card for it."""

LEAST_CUDA: Final[dict[EngineKind, tuple[int, int]]] = {"llamacpp": (12, 8), "vllm": (13, 0)}
"""What an engine's image is built with: llama.cpp, .devops/cuda.Dockerfile, CUDA_VERSION 12.8.1;
vllm, docker/Dockerfile, CUDA_VERSION 13.0."""

LEAST_COMPUTE: Final[dict[EngineKind, tuple[int, int]]] = {"llamacpp": (6, 1), "vllm": (7, 5)}
"""The oldest cards an engine's image is for: Pascal (GTX 10); Turing (RTX 20 and GTX 16), which is
the oldest that CUDA 13 still compiles for."""


class Folder(msgspec.Struct, frozen=True):
    """The node's folder: files that others may read are `exposed`.

    `foreign`: it was there for something else, and is none of the node's to close.
    """

    path: str
    exists: bool
    writable: bool
    exposed: tuple[str, ...] = ()
    foreign: bool = False


class Tool(msgspec.Struct, frozen=True):
    """A program that runs containers; what follows its version is known once it was asked.

    `trouble` is why it runs none, in its own words; `unmapped`: it has no ids for their users.
    """

    path: str
    version: tuple[int, int]
    rootless: bool = False
    trouble: str = ""
    unmapped: bool = False


class CdiSpec(msgspec.Struct, frozen=True):
    """A description of NVIDIA cards for containers: its driver, and what it calls the cards.

    `gids` tells of `additionalGids`, which are new in CDI 0.7.0; `uvm` whether it names the device
    that CUDA cannot do without.
    """

    path: str
    driver: str
    names: tuple[str, ...] = ()
    gids: bool = False
    uvm: bool = True


class Namespaces(msgspec.Struct, frozen=True):
    """Whether ordinary users may make user namespaces; None where the kernel has no such switch."""

    most: int | None = None
    cloning: bool | None = None
    restricted: bool = False


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """What came back from the network; `skew` is how far this clock is ahead, in seconds."""

    gateway: str
    error: str = ""
    round_trip: float | None = None
    skew: float | None = None
    nats: tuple[str, ...] = ()
    nats_open: tuple[str, ...] = ()


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the checks look at.

    `sandbox` is what the owner lets run containers. `nvidia_hook` is whether an older Docker can
    give cards away, `uvm` whether CUDA's device is there. `subuids` and `subgids` count the ids
    given to the user, `free_ids` is a range that nobody has. `bounded` is whether all of this runs
    in a container that has limits of its own.
    """

    pc: Pc
    folder: Folder
    user: str
    engine: EngineKind = "vllm"
    sandbox: SandboxChoice = "auto"
    root: bool = False
    nvidia_plugged_in: bool = False
    podman: Tool | None = None
    docker: Tool | None = None
    nvidia_hook: bool = False
    uvm: bool = True
    cdi: tuple[CdiSpec, ...] = ()
    namespaces: Namespaces = Namespaces()
    subuids: int = 0
    subgids: int = 0
    free_ids: str = ""
    cgroup: CgroupKind = "none"
    controllers: frozenset[str] = frozenset()
    bounded: bool = False
    linger: bool | None = None
    reach: Reach | None = None


class Finding(msgspec.Struct, frozen=True):
    """What a check found: `case` says which sentence fits, `values` what to fill in."""

    check: CheckId
    state: State
    case: str
    values: dict[str, str] = {}


class Report(msgspec.Struct, frozen=True):
    """All findings about a PC for one engine."""

    engine: EngineKind
    pc: Pc
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> tuple[Finding, ...]:
        """What keeps the engine from serving here."""
        return tuple(each for each in self.findings if each.state == "fail")


__all__ = [
    "CARD",
    "FIRST",
    "LEAST_COMPUTE",
    "LEAST_CUDA",
    "NEEDS",
    "SANDBOX",
    "CdiSpec",
    "CgroupKind",
    "CheckId",
    "EngineKind",
    "Facts",
    "Finding",
    "Folder",
    "Namespaces",
    "Reach",
    "Report",
    "State",
    "Tool",
]
