"""Collect the facts: read files, run programs with a time limit, and ask the network."""

import getpass
import os
import re
import shutil
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Final

from garage_ai.node.folder import NodeFolder
from garage_ai.node.hardware.bounds import is_bounded
from garage_ai.node.hardware.commands import Run, run
from garage_ai.node.hardware.models import Gpus
from garage_ai.node.hardware.nvidia_smi import parse_version
from garage_ai.node.hardware.pc import nvidia_on_the_bus, read_gpus, read_pc
from garage_ai.node.hardware.uvm import DEVICE, lacks_uvm
from garage_ai.node.preflight.models import (
    CdiSpec,
    CgroupKind,
    CheckId,
    Facts,
    Folder,
    Namespaces,
    Reach,
    Tool,
)
from garage_ai.node.sandbox.subids import free_ids
from garage_ai.wire.secret_files import is_foreign

CDI_FOLDERS: Final = ("etc/cdi", "var/run/cdi")
"""Where podman looks (CDI specification, 0.6)."""

HOOK: Final = "nvidia-container-runtime-hook"
"""What Docker's daemon looks for before it gives a card away (moby, daemon/nvidia_linux.go)."""

_DAEMONS_PATH: Final = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin")
"""Where systemd lets a daemon find programs (systemd.exec(5), PATH)."""

_GPU_CHECKS: Final[frozenset[CheckId]] = frozenset({"gpu", "driver", "compute", "vram", "cdi"})
_TOOL_CHECKS: Final[frozenset[CheckId]] = frozenset(
    {"container", "cdi", "userns", "subids", "cgroup"}
)
_MOST_BYTES: Final = 4 * 1024 * 1024
_CUDA_LIBRARY: Final = re.compile(r"/libcuda\.so\.(\d{3,}\.\d+(?:\.\d+)?)\b")
"""A driver's version; inside WSL there is a `libcuda.so.1.1`, which tells none."""

_CDI_FILES: Final = (".yaml", ".json")
"""All others are passed over (container-device-interface, ScanSpecDirs), also `.yml`."""

_CDI_KIND: Final = re.compile(
    r"""(?:^|[\s,{])["']?kind["']?\s*:\s*["']?nvidia\.com/gpu["']?(?:[\s,}]|$)"""
)
"""What containers are given by; Kubernetes has descriptions for itself, `management.nvidia.com/gpu`
and `k8s.device-plugin.nvidia.com/gpu` (NVIDIA/gpu-operator, issue 2186)."""

_CDI_NAME: Final = re.compile(r"""(?:^|[\s,{])["']?name["']?\s*:\s*["']?([\w.-]{1,64})""")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_SECRETS: Final = ("identity.json", "node.nk", "node.nk.next", "node.jwt", "service.env")


def collect(
    folder: NodeFolder,
    reach: Reach | None = None,
    wanted: Collection[CheckId] = (),
    *,
    root: Path = Path("/"),
    ask: Run = run,
) -> Facts:
    """Collect what the wanted checks look at (all, if none is named)."""
    cards = not wanted or bool(_GPU_CHECKS & set(wanted))
    tools = not wanted or bool(_TOOL_CHECKS & set(wanted))
    user = user_name()
    return Facts(
        pc=read_pc(folder.path, root=root, gpus=read_gpus(ask) if cards else Gpus()),
        folder=read_folder(folder),
        user=user,
        root=os.geteuid() == 0,
        nvidia_plugged_in=nvidia_on_the_bus(root),
        podman=read_tool("podman", ask) if tools else None,
        docker=read_tool("docker", ask) if tools else None,
        nvidia_hook=has_hook(root),
        uvm=not lacks_uvm(root),
        cdi=read_cdi(root),
        namespaces=read_namespaces(root),
        subuids=count_ids(root / "etc/subuid", user, os.getuid()),
        subgids=count_ids(root / "etc/subgid", user, os.getuid()),
        free_ids=free_ids(root),
        cgroup=cgroup_kind(root),
        controllers=read_controllers(root, os.getuid()),
        bounded=is_bounded(root / "sys/fs/cgroup"),
        linger=read_linger(root, user),
        reach=reach,
    )


def user_name() -> str:
    """Give the name of who runs this; the number where the number has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def read_folder(folder: NodeFolder) -> Folder:
    """Look at the node's folder and at who else may read it."""
    path = folder.path
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    return Folder(
        path=str(path),
        exists=path.is_dir(),
        writable=place.is_dir() and os.access(place, os.W_OK | os.X_OK),
        exposed=tuple(str(each) for each in exposed_parts(folder)),
        foreign=_is_foreign(path),
    )


def exposed_parts(folder: NodeFolder) -> list[Path]:
    """List the folders and secrets of the node that others than the owner may open.

    Of a folder that was there for something else, such as /var, nothing is the node's.
    """
    if _is_foreign(folder.path):
        return []
    parts = [folder.path, folder.run, folder.logs, *(folder.path / name for name in _SECRETS)]
    return [each for each in parts if _mode(each) & _OTHERS]


def read_tool(name: str, ask: Run) -> Tool | None:
    """Ask `podman` or `docker` for its version; None where it is not there."""
    told = ask((name, "--version"))
    match = re.search(rf"^{name} version (\S+)", told.text, re.IGNORECASE | re.MULTILINE)
    version = parse_version(match[1]) if told.well and match else None
    return None if version is None else Tool(shutil.which(name) or name, version)


def has_hook(root: Path) -> bool:
    """Tell whether NVIDIA's toolkit is where Docker's daemon looks for it."""
    places = os.pathsep.join(str(root / folder) for folder in _DAEMONS_PATH)
    return shutil.which(HOOK, path=places) is not None


def read_cdi(root: Path) -> tuple[CdiSpec, ...]:
    """Find the descriptions of NVIDIA cards, and of which driver's libraries they tell."""
    found = []
    for folder in CDI_FOLDERS:
        for path in sorted((root / folder).glob("*")):
            if path.suffix not in _CDI_FILES:
                continue
            text = _text(path)
            if _CDI_KIND.search(text):
                library = _CUDA_LIBRARY.search(text)
                name = "/" + str(path.relative_to(root))
                names = tuple(dict.fromkeys(_CDI_NAME.findall(text)))
                driver = library[1] if library else ""
                gids, uvm = "additionalGids" in text, DEVICE in text
                found.append(CdiSpec(name, driver, names, gids=gids, uvm=uvm))
    return tuple(found)


def read_namespaces(root: Path) -> Namespaces:
    """Read the kernel's switches for user namespaces (user_namespaces(7), Debian, Ubuntu)."""
    most = _number(root / "proc/sys/user/max_user_namespaces")
    cloning = _number(root / "proc/sys/kernel/unprivileged_userns_clone")
    restricted = _number(root / "proc/sys/kernel/apparmor_restrict_unprivileged_userns")
    return Namespaces(most, None if cloning is None else cloning != 0, restricted == 1)


def count_ids(path: Path, user: str, uid: int) -> int:
    """Count the ids given to a user in /etc/subuid or /etc/subgid (subuid(5))."""
    total = 0
    for line in _text(path).splitlines():
        name, _, rest = line.strip().partition(":")
        count = rest.partition(":")[2]
        if name in (user, str(uid)) and count.isdecimal():
            total += int(count)
    return total


def cgroup_kind(root: Path) -> CgroupKind:
    """Tell which cgroups there are; `hybrid` has the new ones beside the old, without limits."""
    mount = root / "sys/fs/cgroup"
    if (mount / "cgroup.controllers").exists():
        return "v2"
    if (mount / "unified").is_dir():
        return "hybrid"
    return "v1" if (mount / "memory").is_dir() else "none"


def read_controllers(root: Path, uid: int) -> frozenset[str]:
    """Read which limits systemd lets the user's own services set."""
    slice_ = root / f"sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service"
    return frozenset(_text(slice_ / "cgroup.controllers").split())


def read_linger(root: Path, user: str) -> bool | None:
    """Tell whether systemd keeps the user's services when he logs out; None without systemd."""
    if not (root / "run/systemd/system").is_dir():
        return None
    return (root / "var/lib/systemd/linger" / user).exists()


def _is_foreign(path: Path) -> bool:
    try:
        return is_foreign(path)
    except OSError:
        return False


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.lstrip("-").isdecimal() else None


def _text(path: Path) -> str:
    try:
        with path.open(errors="replace") as file:
            return file.read(_MOST_BYTES)
    except OSError:
        return ""


__all__ = ["collect", "exposed_parts", "read_linger", "user_name"]
