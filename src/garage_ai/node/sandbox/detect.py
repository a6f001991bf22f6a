"""What this PC has to run containers with, from what podman and docker say of themselves."""

import asyncio
import re
import resource
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, TypeVar

import msgspec

from garage_ai.node.errors import (
    NoRuntime,
    NoSeccomp,
    NotPossible,
    NoUserIds,
    RuntimeBroken,
    RuntimeTooOld,
)
from garage_ai.node.hardware.bounds import is_bounded
from garage_ai.node.sandbox.command import ask
from garage_ai.node.sandbox.spec import USER, Program, Runtime
from garage_ai.node.sandbox.subids import free_ids

Wanted = Literal["auto", "podman", "docker"]
T = TypeVar("T", bound=msgspec.Struct)

PODMAN_FLOOR: Final = (4, 1)
"""The first that takes a GPU by its CDI name."""

DOCKER_FLOOR: Final = (20, 10)
"""The first whose `run` can be told never to pull, and that knows cgroup v2."""

_NUMBER: Final = re.compile(r"\d+")


class _Ids(msgspec.Struct):
    container_id: int = 0
    size: int = 0


class _IdMaps(msgspec.Struct):
    uidmap: list[_Ids] | None = None
    gidmap: list[_Ids] | None = None


class _Security(msgspec.Struct, rename="camel"):
    rootless: bool = False
    seccomp_enabled: bool = False
    seccomp_profile_path: str = ""
    selinux_enabled: bool = False


class _Host(msgspec.Struct, rename="camel"):
    cgroup_version: str = "v1"
    cgroup_controllers: list[str] | None = None
    service_is_remote: bool = False
    id_mappings: _IdMaps = msgspec.field(default_factory=_IdMaps)
    security: _Security = msgspec.field(default_factory=_Security)


class _Version(msgspec.Struct, rename={"number": "Version"}):
    number: str


class _PodmanInfo(msgspec.Struct):
    host: _Host
    version: _Version


class _DockerInfo(msgspec.Struct, rename="pascal"):
    server_version: str = ""
    cgroup_version: str = "1"
    memory_limit: bool = False
    pids_limit: bool = False
    cpu_cfs_quota: bool = False
    cores: int = msgspec.field(default=0, name="NCPU")
    security_options: list[str] | None = None
    cdi_spec_dirs: list[str] | None = msgspec.field(default=None, name="CDISpecDirs")
    server_errors: list[str] | None = None


async def find_runtime(wanted: Wanted = "auto") -> Runtime:
    """Find what can fence an engine in here: podman before docker, unless one is asked for.

    Raises: SandboxError; of two that cannot, the first one's reason.
    """
    programs: tuple[Program, ...] = ("podman", "docker") if wanted == "auto" else (wanted,)
    present = [name for name in programs if await asyncio.to_thread(shutil.which, name)]
    if not present:
        raise NoRuntime(
            "{programs} not found: an engine needs one of them for its sandbox. On Debian "
            "or Ubuntu: sudo apt install podman uidmap slirp4netns",
            programs=" and ".join(programs),
        )
    reasons: list[NotPossible] = []
    for name in present:
        try:
            return await look_at(name)
        except NotPossible as error:
            reasons.append(error)
    raise reasons[0]


async def look_at(name: Program) -> Runtime:
    """Ask one of the two what it has, in bounded time. Raises: SandboxError."""
    layout = "json" if name == "podman" else "{{json .}}"
    said = await ask([name, "info", "--format", layout])
    if not said.well:
        raise _broken(name, said.words)
    if name == "docker":
        found = read_docker(said.out)
    else:
        runc = await asyncio.to_thread(shutil.which, "runc")
        found = read_podman(said.out, has_runc=runc is not None)
    return replace(found, bounded=is_bounded())


def read_podman(info: str, *, has_runc: bool) -> Runtime:
    """Judge what `podman info --format json` says. Raises: SandboxError."""
    told = _decoded("podman", info, _PodmanInfo)
    host = told.host
    cgroups: Literal[1, 2] = 2 if host.cgroup_version == "v2" else 1
    if host.service_is_remote:
        raise RuntimeBroken(
            "podman speaks to a service (CONTAINER_HOST, CONTAINER_CONNECTION or `podman system "
            "connection`), which could run an engine elsewhere and after the agent's end; unset it."
        )
    _check_version("podman", told.version.number, PODMAN_FLOOR)
    _check_seccomp("podman", present=host.security.seccomp_enabled)
    if host.security.rootless:
        _check_ids(host.id_mappings)
    return Runtime(
        program="podman",
        version=_numbers(told.version.number),
        rootless=host.security.rootless,
        cgroups=cgroups,
        controllers=frozenset(host.cgroup_controllers or ()),
        # crun cannot place a container where v1 and v2 are mounted beside each other.
        oci="runc" if cgroups == 1 and has_runc else None,
        profile=Path(path) if (path := host.security.seccomp_profile_path) else None,
        selinux=host.security.selinux_enabled,
        files=_hard(resource.RLIMIT_NOFILE),
        tasks=_hard(resource.RLIMIT_NPROC),
    )


def read_docker(info: str) -> Runtime:
    """Judge what `docker info --format '{{json .}}'` says. Raises: SandboxError."""
    told = _decoded("docker", info, _DockerInfo)
    if told.server_errors or not told.server_version:
        words = (told.server_errors or ["its daemon does not answer"])[0]
        raise _broken("docker", words[:300])
    options = told.security_options or []
    _check_version("docker", told.server_version, DOCKER_FLOOR)
    seccomp = [each for each in options if "seccomp" in each]
    _check_seccomp("docker", present=bool(seccomp) and "unconfined" not in seccomp[0])
    held = {"memory": told.memory_limit, "pids": told.pids_limit, "cpu": told.cpu_cfs_quota}
    return Runtime(
        program="docker",
        version=_numbers(told.server_version),
        rootless=any("rootless" in each for each in options),
        cgroups=2 if told.cgroup_version == "2" else 1,
        controllers=frozenset(name for name, holds in held.items() if holds),
        # The daemon names these folders only where it knows devices by CDI name.
        cdi=bool(told.cdi_spec_dirs),
        selinux="name=selinux" in options,
        cores=told.cores or None,
        files=_hard(resource.RLIMIT_NOFILE),
        tasks=_hard(resource.RLIMIT_NPROC),
    )


def _broken(name: str, words: str) -> RuntimeBroken:
    return RuntimeBroken(
        "`{name} info` fails: {words}. How to put that right: gai node doctor",
        name=name,
        words=words,
    )


def _decoded(name: str, info: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(info, type=kind)
    except msgspec.MsgspecError as error:
        raise RuntimeBroken(
            "`{name} info` says what no {name} says: {error}.",
            name=name,
            error=error,
        ) from error


def _check_version(name: str, text: str, floor: tuple[int, ...]) -> None:
    if _numbers(text) < floor:
        raise RuntimeTooOld(
            "{name} {text} is too old: {floor} is the oldest that fences an engine in. "
            "Take a newer one, or docker beside it.",
            name=name,
            text=text,
            floor=".".join(map(str, floor)),
        )


def _check_seccomp(name: str, *, present: bool) -> None:
    if not present:
        raise NoSeccomp(
            "{name} runs without seccomp here; its default profile is needed.",
            name=name,
        )


def _check_ids(maps: _IdMaps) -> None:
    for rows in (maps.uidmap, maps.gidmap):
        if not any(row.container_id <= USER < row.container_id + row.size for row in rows or ()):
            raise NoUserIds(
                "This user has no subordinate ids, by which a container's user is nobody here. "
                "Fix: sudo usermod --add-subuids {range} --add-subgids {range} $USER "
                "&& podman system migrate",
                range=free_ids(),
            )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in _NUMBER.findall(text.partition("-")[0])[:3])


def _hard(which: int) -> int:
    limit = resource.getrlimit(which)[1]
    return limit if limit != resource.RLIM_INFINITY else 1 << 20


__all__ = [
    "DOCKER_FLOOR",
    "PODMAN_FLOOR",
    "Wanted",
    "find_runtime",
    "look_at",
    "read_docker",
    "read_podman",
]
