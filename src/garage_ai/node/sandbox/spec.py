"""What a container is to be, whichever program runs it. Pure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Program = Literal["podman", "docker"]
USER: Final = 61_000
"""User and group of the process inside: neither root nor, under rootless Podman, the owner.

systemd gives nobody ids from 60706 to 61183, so rootful Docker's container has no namesake either.
"""

CONTROLLERS: Final = frozenset({"memory", "pids"})
"""The cgroup controllers without which a container's limits are words only."""

MEBI: Final = 1 << 20
GIBI: Final = 1 << 30

CACHE: Final = "/cache"
"""Where an engine that needs it may write what it then runs."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or folder of the host and where it is seen inside; read-only unless said."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What a container may use at most: bytes, processes, cores, seconds (None: as long as asked).

    There is no swap beyond `memory`. `files` open at a time; `tmp` is all there is to write to, but
    for `cache`, the size of CACHE: none unless said, since code can be run from there.
    """

    memory: int
    pids: int = 512
    cpus: float | None = None
    shm: int = 64 * MEBI
    tmp: int = 64 * MEBI
    cache: int = 0
    files: int = 4096
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One container. `image` is an id or a name with a digest, never a tag that may move.

    `seccomp` is a profile narrower than the runtime's own, None to keep that. `gpus` are UUIDs.
    `environment` is all that the process gets of ours; the host's is kept out. `network` is the
    namespace that it is put into, as iproute2 names one; None for loopback alone.
    """

    image: str
    name: str
    command: tuple[str, ...]
    limits: Limits
    mounts: tuple[Mount, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    gpus: tuple[str, ...] = ()
    seccomp: Path | None = None
    network: Path | None = None


@dataclass(frozen=True, slots=True)
class Runtime:
    """What runs containers on this PC, as far as a command line depends on it.

    `oci` is named where the program's own choice cannot work here. `controllers` are the cgroup
    controllers it may use. `cdi` tells whether it knows devices by CDI name. `files` and `tasks`
    are this process's own hard limits, which no container can exceed, and `cores` all that Docker's
    daemon has, which starts none that asks for more. `profile` is Podman's own profile of system
    calls. `bounded` tells that all of this runs in a container with limits.
    `selinux` tells that SELinux puts containers into a domain that reads no file of the owner's.
    """

    program: Program
    version: tuple[int, ...]
    rootless: bool
    cgroups: Literal[1, 2]
    controllers: frozenset[str]
    oci: str | None = None
    cdi: bool = True
    files: int = 1 << 20
    tasks: int = 1 << 20
    cores: int | None = None
    profile: Path | None = None
    bounded: bool = False
    selinux: bool = False

    @property
    def enforces(self) -> bool:
        """Whether memory and pids limits hold: a container's own, or those around it."""
        return self.bounded or self.controllers >= CONTROLLERS


__all__ = [
    "CACHE",
    "CONTROLLERS",
    "GIBI",
    "MEBI",
    "USER",
    "ContainerSpec",
    "Limits",
    "Mount",
    "Program",
    "Runtime",
]
