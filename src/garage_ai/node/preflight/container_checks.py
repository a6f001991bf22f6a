"""Checks of what containers without root need. Pure."""

from typing import Final

from garage_ai.node.preflight.models import Facts, Finding

OLDEST_PODMAN: Final = (4, 1)
"""The first that knows CDI names in --device (podman release notes, 4.1.0)."""

LEAST_IDS: Final = 61_000
"""Then the engine's user (sandbox/spec.py) is one of them; in a container there are hardly more."""

LIMITS: Final = frozenset({"memory", "pids"})
"""What a container is held to; the rest is convenience."""

_PACKAGED: Final = "/usr/bin/podman"
"""Ubuntu's AppArmor profile lets this path, and no other, make user namespaces."""


def check_container(facts: Facts) -> Finding:
    """Tell which program would run the containers."""
    podman, docker = facts.podman, facts.docker
    if podman is not None and podman.version >= OLDEST_PODMAN:
        return Finding("container", "ok", "podman", {"version": _version(podman.version)})
    if docker is not None:
        return Finding("container", "ok", "docker", {"version": _version(docker.version)})
    if podman is not None:
        values = {"version": _version(podman.version), "needed": _version(OLDEST_PODMAN)}
        return Finding("container", "fail", "old", values)
    return Finding("container", "fail", "none")


def check_cdi(facts: Facts) -> Finding | None:
    """Tell whether containers are told of the cards, and of the driver that runs now."""
    driver = facts.pc.gpus.driver
    if not facts.pc.gpus.cards or facts.podman is None:
        return None
    if not facts.cdi:
        return Finding("cdi", "fail", "none")
    values = {"path": facts.cdi[0].path, "spec": facts.cdi[0].driver, "driver": driver}
    names = {name for each in facts.cdi for name in each.names}
    # `all` is a name for all of them together; inside WSL there is no other.
    if names and "all" not in names and not {card.uuid for card in facts.pc.gpus.cards} <= names:
        return Finding("cdi", "fail", "unnamed", values)
    if any(each.driver and each.driver == driver for each in facts.cdi):
        return Finding("cdi", "ok", "ok", values)
    # Inside WSL the libraries bear no version; they change with Windows' driver by themselves.
    if any(not each.driver for each in facts.cdi):
        return Finding("cdi", "ok", "undated", values)
    return Finding("cdi", "fail", "stale", values)


def check_userns(facts: Facts) -> Finding | None:
    """Tell whether ordinary users may make user namespaces."""
    spaces = facts.namespaces
    if facts.root:
        return None
    if spaces.cloning is False:
        return Finding("userns", "fail", "forbidden")
    if spaces.most == 0:
        return Finding("userns", "fail", "none")
    if spaces.restricted and facts.podman is not None and facts.podman.path != _PACKAGED:
        return Finding("userns", "warn", "restricted", {"path": facts.podman.path})
    return Finding("userns", "ok", "ok")


def check_subids(facts: Facts) -> Finding | None:
    """Tell whether the user has ids to give to a container's users."""
    if facts.root:
        return None
    few = min(facts.subuids, facts.subgids)
    values = {"user": facts.user, "count": str(few)}
    if few < LEAST_IDS:
        return Finding("subids", "fail", "few" if few else "none", values)
    return Finding("subids", "ok", "ok", values)


def check_cgroup(facts: Facts) -> Finding:
    """Tell whether the system can hold a container to its memory and processes."""
    if facts.bounded:
        return Finding("cgroup", "ok", "outer")
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


def _version(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


__all__ = [
    "check_cdi",
    "check_cgroup",
    "check_container",
    "check_linger",
    "check_subids",
    "check_userns",
]
