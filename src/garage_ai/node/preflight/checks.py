"""The checklist: each check looks at facts and says what it found, or nothing. Pure."""

from collections.abc import Callable, Collection
from typing import Final

import msgspec

from garage_ai.node.folder import SandboxChoice
from garage_ai.node.preflight.container_checks import (
    check_cdi,
    check_cgroup,
    check_container,
    check_linger,
    check_subids,
    check_userns,
)
from garage_ai.node.preflight.gpu_checks import check_compute, check_driver, check_gpu, check_vram
from garage_ai.node.preflight.models import (
    CARD,
    NEEDS,
    SANDBOX,
    CheckId,
    EngineKind,
    Facts,
    Finding,
    Report,
)

Check = Callable[[Facts], Finding | None]

OLDEST_PYTHON: Final = (3, 11)
NEWEST_PYTHON: Final = (3, 14)
OVERLAY_KERNEL: Final = (5, 13)
"""From here on overlayfs works without root (podman, docs/tutorials/rootless_tutorial.md)."""

LEAST_DISK: Final = 2 * 10**9
"""The small model, logs, and room to breathe."""

GOOD_DISK: Final = 50 * 10**9
"""An engine's image and one model of 14 to 32 billion parameters at four bits."""

SKEWED: Final = 10.0
WRONG_CLOCK: Final = 3600.0
"""Certificates and credentials bear dates; an hour is more than any of them forgives."""


def examine(
    facts: Facts,
    engine: EngineKind,
    wanted: Collection[CheckId] = (),
    *,
    sandbox: SandboxChoice = "auto",
    card: bool = False,
    own: bool = False,
) -> Report:
    """Go through the checklist, or what is wanted of it; what is not needed is only advice.

    `sandbox` is the one its owner chose; `card` an engine that is to use the card if there is one;
    `own` one from an image of the owner's, of which nobody knows what driver it needs.
    """
    facts = msgspec.structs.replace(facts, engine=engine, sandbox=sandbox)
    needs = NEEDS[engine]
    if card and has_card(facts):
        needs |= CARD
    if sandbox == "none":
        # As with an environment of the owner's, which was built for what it was built for.
        needs -= SANDBOX | CARD - {"gpu"}
    elif own:
        needs -= {"driver"}
    found = [check(facts) for name, check in CHECKS.items() if not wanted or name in wanted]
    findings = (_weighed(each, needs) for each in found if each is not None)
    return Report(engine, facts.pc, tuple(findings))


def has_card(facts: Facts) -> bool:
    """Tell whether there is an NVIDIA card, whatever its driver says."""
    return bool(facts.pc.gpus.cards) or facts.nvidia_plugged_in


def _weighed(finding: Finding, needs: Collection[CheckId]) -> Finding:
    if finding.state == "fail" and finding.check not in needs:
        return msgspec.structs.replace(finding, state="warn")
    return finding


def check_os(facts: Facts) -> Finding:
    """Look at the operating system and its kernel."""
    pc = facts.pc
    kernel = ".".join(map(str, pc.kernel))
    values = {"system": pc.distribution or pc.system, "kernel": kernel}
    if pc.system != "Linux":
        return Finding("os", "fail", "other", values)
    if pc.wsl:
        return Finding("os", "warn", "wsl", values)
    if pc.container:
        return Finding("os", "warn", "container", values)
    if pc.kernel < OVERLAY_KERNEL:
        return Finding("os", "warn", "old", values)
    return Finding("os", "ok", "ok", values)


def check_python(facts: Facts) -> Finding:
    """Look at the Python that runs this."""
    version = facts.pc.python
    values = {"version": ".".join(map(str, version))}
    if version < OLDEST_PYTHON:
        return Finding("python", "fail", "old", values)
    case = "new" if version > NEWEST_PYTHON else "ok"
    return Finding("python", "warn" if case == "new" else "ok", case, values)


def check_folder(facts: Facts) -> Finding:
    """Look at the folder with the node's key: nobody else may read it."""
    folder = facts.folder
    values = {"folder": folder.path, "files": ", ".join(folder.exposed[:5])}
    if not folder.writable:
        return Finding("folder", "fail", "not_writable", values)
    if folder.foreign:
        return Finding("folder", "fail", "foreign", values)
    if folder.exposed:
        return Finding("folder", "fail", "exposed", values)
    return Finding("folder", "ok", "ok" if folder.exists else "new", values)


def check_disk(facts: Facts) -> Finding:
    """Look at the space for models."""
    free = facts.pc.disk_free
    values = {"free": f"{free / 1e9:.1f}", "folder": facts.folder.path}
    if free < LEAST_DISK:
        return Finding("disk", "fail", "full", values)
    if free < GOOD_DISK:
        return Finding("disk", "warn", "little", values)
    return Finding("disk", "ok", "ok", values)


def check_clock(facts: Facts) -> Finding | None:
    """Compare this clock with the gateway's."""
    skew = facts.reach.skew if facts.reach else None
    if skew is None:
        return None
    values = {"seconds": f"{abs(skew):.0f}"}
    if abs(skew) > WRONG_CLOCK:
        return Finding("clock", "fail", "wrong", values)
    if abs(skew) > SKEWED:
        return Finding("clock", "warn", "ahead" if skew > 0 else "behind", values)
    return Finding("clock", "ok", "ok", values)


def check_gateway(facts: Facts) -> Finding | None:
    """Tell whether the node's gateway answers."""
    reach = facts.reach
    if reach is None:
        return None
    if reach.round_trip is None:
        values = {"gateway": reach.gateway, "error": reach.error}
        return Finding("gateway", "fail", "away", values)
    values = {"gateway": reach.gateway, "ms": f"{reach.round_trip * 1000:.0f}"}
    return Finding("gateway", "ok", "ok", values)


def check_nats(facts: Facts) -> Finding | None:
    """Tell whether one of the network's addresses lets this PC in; one is enough."""
    reach = facts.reach
    if reach is None or not reach.nats:
        return None
    values = {"open": ", ".join(reach.nats_open[:3]), "all": ", ".join(reach.nats[:3])}
    if not reach.nats_open:
        return Finding("nats", "fail", "closed", values)
    return Finding("nats", "ok", "ok", values)


CHECKS: Final[dict[CheckId, Check]] = {
    "os": check_os,
    "python": check_python,
    "folder": check_folder,
    "disk": check_disk,
    "gpu": check_gpu,
    "driver": check_driver,
    "compute": check_compute,
    "vram": check_vram,
    "container": check_container,
    "cdi": check_cdi,
    "userns": check_userns,
    "subids": check_subids,
    "cgroup": check_cgroup,
    "linger": check_linger,
    "clock": check_clock,
    "gateway": check_gateway,
    "nats": check_nats,
}


__all__ = ["CHECKS", "examine", "has_card"]
