"""What is known about a PC before it serves, and what follows from it."""

from typing import Final, Literal

import msgspec

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
"""What a sandbox cannot do without."""

NEEDS: Final[dict[EngineKind, frozenset[CheckId]]] = {
    "external": _ALWAYS,
    "llamacpp": FIRST | SANDBOX,
    "vllm": FIRST | {"gpu", "driver", "compute"},
}
"""What an engine cannot do without; all else is told as advice."""


class Folder(msgspec.Struct, frozen=True):
    """The node's folder: files that others may read are `exposed`."""

    path: str
    exists: bool
    writable: bool
    exposed: tuple[str, ...] = ()


class Tool(msgspec.Struct, frozen=True):
    """A program that runs containers."""

    path: str
    version: tuple[int, int]


class CdiSpec(msgspec.Struct, frozen=True):
    """A description of NVIDIA cards for containers, and the driver it was written for."""

    path: str
    driver: str


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
    """Everything the checks look at. `subuids` and `subgids` count the ids given to the user."""

    pc: Pc
    folder: Folder
    user: str
    root: bool = False
    nvidia_plugged_in: bool = False
    podman: Tool | None = None
    docker: Tool | None = None
    cdi: tuple[CdiSpec, ...] = ()
    namespaces: Namespaces = Namespaces()
    subuids: int = 0
    subgids: int = 0
    cgroup: CgroupKind = "none"
    controllers: frozenset[str] = frozenset()
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
    "FIRST",
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
