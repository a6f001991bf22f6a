"""Checks of what containers need, by the program that would run them. Pure."""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from garage_ai.node.preflight.models import CdiSpec, Facts, Finding, Tool
from garage_ai.node.sandbox.detect import DOCKER_FLOOR, PODMAN_FLOOR
from garage_ai.node.sandbox.spec import Program

DOCKER_MAY_CDI: Final = (25, 0)
DOCKER_CDI: Final = (28, 2)
"""From here on its daemon knows CDI names unless told otherwise (release notes, 28.2.0)."""

PODMAN_GIDS: Final = (5, 1)
"""From here on it reads a description with `additionalGids`; before, it passes over the whole file
(NVIDIA/nvidia-container-toolkit, issues 1860 and 1865)."""

REFRESHED: Final = "/var/run/cdi/"
"""Where NVIDIA's own service writes a description at each start of the PC (toolkit 1.18)."""

LEAST_IDS: Final = 61_000
"""Then the engine's user (sandbox/spec.py) is one of them; in a container there are hardly more."""

LIMITS: Final = frozenset({"memory", "pids"})
"""What a container is held to; the rest is convenience."""

_FLOORS: Final[dict[Program, tuple[int, int]]] = {"podman": PODMAN_FLOOR, "docker": DOCKER_FLOOR}
_PACKAGED: Final = "/usr/bin/podman"
"""Ubuntu's AppArmor profile lets this path, and no other, make user namespaces."""

_SYSTEM_SOCKET: Final = "/var/run/docker.sock"
"""Where the system's own Docker daemon listens, and no user's."""

_NOT_RUNNING: Final = re.compile("daemon (is )?running", re.IGNORECASE)
"""What `docker` says of a daemon that is not there, from 20.10 to 29."""


def program_of(facts: Facts) -> Program | None:
    """Tell which program would run the containers, as sandbox/detect.py chooses; None: neither."""
    there = _there(facts)
    able = [name for name, tool in there if not _too_old(name, tool) and not tool.trouble]
    whole = [name for name, tool in there if name in able and not tool.unmapped]
    return next(iter(whole or able), None)


def check_container(facts: Facts) -> Finding:
    """Tell which program would run the containers, or why none does."""
    program, there = program_of(facts), _there(facts)
    if program is not None:
        return Finding(
            "container", "ok", program, {"version": _version(dict(there)[program].version)}
        )
    for name, tool in there:
        if not _too_old(name, tool):
            return _troubled(name, tool, facts.user)
    if there:
        name, tool = there[0]
        values = {"version": _version(tool.version), "needed": _version(_FLOORS[name])}
        return Finding("container", "fail", "old" if name == "podman" else "old_docker", values)
    if facts.sandbox in _FLOORS:
        return Finding("container", "fail", "not_there", {"program": facts.sandbox.capitalize()})
    return Finding("container", "fail", "none")


def _troubled(name: Program, tool: Tool, user: str) -> Finding:
    said = tool.trouble
    values = {"name": name, "said": said, "user": user}
    if _SYSTEM_SOCKET in said:
        if "permission denied" in said:
            return Finding("container", "fail", "not_let", values)
        if _NOT_RUNNING.search(said):
            return Finding("container", "fail", "not_running", values)
    return Finding("container", "fail", "broken" if name == "podman" else "broken_docker", values)


def check_cdi(facts: Facts) -> Finding | None:
    """Tell whether containers get at the cards, and at the libraries of the driver that runs now.

    Podman and a newer Docker go by CDI descriptions, an older Docker by NVIDIA's hook.
    """
    program, docker = program_of(facts), facts.docker
    if not facts.pc.gpus.cards or program is None:
        return None
    if program == "podman" or docker is None:
        return _described(facts)
    found = _hooked(facts) if docker.version < DOCKER_CDI else _described(facts)
    if found.state == "fail" and facts.pc.wsl:
        # Docker Desktop, beside WSL2, has its own of both, which nobody sees from here.
        return msgspec.structs.replace(found, state="warn")
    return found


def _hooked(facts: Facts) -> Finding:
    if facts.nvidia_hook:
        return Finding("cdi", "ok", "toolkit")
    # Its owner may have switched CDI on, which only the daemon tells.
    may_know = facts.docker is not None and facts.docker.version >= DOCKER_MAY_CDI
    could = may_know and _described(facts).state != "fail"
    return Finding("cdi", "warn" if could else "fail", "toolkit_missing")


def readable(
    specs: Sequence[CdiSpec], program: Program, version: tuple[int, ...]
) -> tuple[CdiSpec, ...]:
    """Give the descriptions that what runs the containers does not pass over."""
    if program == "docker" or version >= PODMAN_GIDS:
        return tuple(specs)
    return tuple(each for each in specs if not each.gids)


def _described(facts: Facts) -> Finding:
    podman = facts.podman if program_of(facts) == "podman" else None
    specs = facts.cdi if podman is None else readable(facts.cdi, "podman", podman.version)
    found = _judged(specs, facts)
    # The service's file is the better one to mend: a new driver does not make it stale.
    unread = sorted({each.path for each in facts.cdi} - {each.path for each in specs}, reverse=True)
    if podman is not None and found.state == "fail" and unread:
        values = {"path": unread[0], "version": _version(podman.version)}
        return Finding("cdi", "fail", f"unread{_refreshed(unread[0])}", values)
    return found


def _refreshed(path: str) -> str:
    return "_refreshed" if path.startswith(REFRESHED) else ""


def _judged(specs: Sequence[CdiSpec], facts: Facts) -> Finding:
    if not specs:
        return Finding("cdi", "fail", "none")
    driver = facts.pc.gpus.driver
    values = {"path": specs[0].path, "spec": specs[0].driver, "driver": driver}
    names = {name for each in specs for name in each.names}
    # `all` is a name for all of them together; inside WSL there is no other.
    if names and "all" not in names and not {card.uuid for card in facts.pc.gpus.cards} <= names:
        return Finding("cdi", "fail", "unnamed", values)
    # Inside WSL the libraries bear no version; they change with Windows' driver by themselves.
    dated = any(each.driver and each.driver == driver for each in specs)
    if not dated and all(each.driver for each in specs):
        return Finding("cdi", "fail", "stale", values)
    # Of two folders that name the same card the later one counts (CDI specification).
    last = specs[-1]
    if not facts.pc.wsl and not (facts.uvm and last.uvm):
        case = f"no_uvm{_refreshed(last.path)}"
        # A device that only is not there yet, the agent has made before it is needed.
        return Finding("cdi", "warn" if last.uvm else "fail", case, {"path": last.path})
    return Finding("cdi", "ok", "ok" if dated else "undated", values)


def check_userns(facts: Facts) -> Finding | None:
    """Tell whether ordinary users may make user namespaces; Docker's daemon is none of them."""
    spaces = facts.namespaces
    if facts.root or program_of(facts) == "docker":
        return None
    if spaces.cloning is False:
        return Finding("userns", "fail", "forbidden")
    if spaces.most == 0:
        return Finding("userns", "fail", "none")
    if spaces.restricted and facts.podman is not None and facts.podman.path != _PACKAGED:
        return Finding("userns", "warn", "restricted", {"path": facts.podman.path})
    return Finding("userns", "ok", "ok")


def check_subids(facts: Facts) -> Finding | None:
    """Tell whether the user has ids to give to a container's users; Docker's daemon asks for none.

    Should it be a rootless Docker, its own set-up has asked for them.
    """
    if facts.root or program_of(facts) == "docker":
        return None
    few = min(facts.subuids, facts.subgids)
    values = {"user": facts.user, "count": str(few), "range": facts.free_ids}
    if few < LEAST_IDS:
        return Finding("subids", "fail", "few" if few else "none", values)
    if facts.podman is not None and facts.podman.unmapped:
        return Finding("subids", "fail", "unused", values)
    return Finding("subids", "ok", "ok", values)


def check_cgroup(facts: Facts) -> Finding:
    """Tell whether the system can hold a container to its memory and processes.

    A Docker daemon that is root holds it on the old cgroups as well as on the new; one that is not
    holds what rootless Podman holds.
    """
    if facts.bounded:
        return Finding("cgroup", "ok", "outer")
    rootless = facts.docker is not None and facts.docker.rootless
    if program_of(facts) == "docker" and not rootless and facts.cgroup != "none":
        return Finding("cgroup", "ok", "docker")
    if facts.cgroup != "v2":
        return Finding("cgroup", "fail", "old", {"kind": facts.cgroup})
    missing = LIMITS - facts.controllers
    if missing and not facts.root:
        return Finding("cgroup", "fail", "not_given", {"missing": ", ".join(sorted(missing))})
    return Finding("cgroup", "ok", "ok")


def check_linger(facts: Facts) -> Finding | None:
    """Tell whether the node would go on when its owner logs out."""
    if facts.linger is None or facts.root:
        return None
    if facts.linger:
        return Finding("linger", "ok", "ok")
    return Finding("linger", "warn", "off")


def _there(facts: Facts) -> list[tuple[Program, Tool]]:
    """List what is installed and let run the containers, the one to be tried first at the front."""
    tools: dict[Program, Tool | None] = {"podman": facts.podman, "docker": facts.docker}
    chosen = facts.sandbox if facts.sandbox in tools else None
    return [(name, tool) for name, tool in tools.items() if tool and chosen in (None, name)]


def _too_old(name: Program, tool: Tool) -> bool:
    return tool.version < _FLOORS[name]


def _version(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


__all__ = [
    "check_cdi",
    "check_cgroup",
    "check_container",
    "check_linger",
    "check_subids",
    "check_userns",
    "program_of",
    "readable",
]
