"""The node's image: page, compose file and profile of system calls say one thing."""

import json
import re
from itertools import pairwise
from pathlib import Path

from tests.parts.node_image import PAGE, documented
from tests.parts.tree import ROOT

from garage_ai.node.sandbox.seccomp import DENIED

FOLDER = ROOT / "containers/node"
PODMANS = ROOT / "tests/unit/node/sandbox/podman-seccomp.json"

NESTING = {
    *("clone", "clone3", "setns", "unshare", "sethostname", "chroot", "pivot_root"),
    *("mount", "umount", "umount2", "move_mount", "mount_setattr", "open_tree"),
    *("fsopen", "fsconfig", "fsmount", "fspick"),
}
"""What a Podman inside needs: namespaces of its own, and mounts in them."""


def compose() -> str:
    """Give the compose file without its comments."""
    lines = (FOLDER / "compose.yaml").read_text().splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("#"))


def value(key: str) -> str:
    """Give the value of a key that stands on one line, once."""
    (found,) = re.findall(rf"^ +{key}: (.+)$", compose(), re.M)
    return str(found)


def test_both_languages_have_one_command() -> None:
    """Word for word."""
    assert documented() == documented(PAGE.with_name("container.sv.md"))


def test_the_compose_file_says_what_the_command_says() -> None:
    """Each option of the page is in it, and no right besides."""
    words = documented()
    said = list(pairwise(words))

    def all_of(option: str) -> list[str]:
        return [value for name, value in said if name == option]

    assert value("read_only") == "true"
    assert "--read-only" in words
    assert all_of("--tmpfs") == [value("tmpfs")]
    assert all_of("--cap-drop") == [value("cap_drop").strip("[]")]
    assert all_of("--cap-add") == value("cap_add").strip("[]").split(", ")
    limits = [value(key) for key in ("mem_limit", "memswap_limit", "pids_limit", "cpus")]
    asked = ("--memory", "--memory-swap", "--pids-limit", "--cpus")
    assert [all_of(option)[0] for option in asked] == limits
    listed = re.findall(r"^ +- (.+)$", compose(), re.M)
    profile = "seccomp=containers/node/seccomp.json"
    options = [
        "seccomp=seccomp.json" if each == profile else each for each in all_of("--security-opt")
    ]
    assert listed == ["home:/home/gai", *options]
    for right in ("privileged", "devices", "network_mode", "pid:", "docker.sock"):
        assert right not in compose()


def rules(path: Path) -> list[dict[str, object]]:
    """Give a profile's rules."""
    found: list[dict[str, object]] = json.loads(path.read_text())["syscalls"]
    return found


def allowed(path: Path) -> set[str]:
    """Give the names that a profile allows to whoever asks, on some processor."""
    found: set[str] = set()
    for rule in rules(path):
        includes = rule.get("includes") or {}
        assert isinstance(includes, dict)
        names = rule["names"]
        assert isinstance(names, list)
        if rule["action"] == "SCMP_ACT_ALLOW" and not includes.get("caps"):
            found |= set(names)
    return found


def test_the_profile_is_podmans_with_what_nesting_needs() -> None:
    """Nothing else is added, and what no node needs is gone."""
    profile = FOLDER / "seccomp.json"
    ours, podmans = allowed(profile), allowed(PODMANS)
    assert ours - podmans <= NESTING
    assert ours >= NESTING
    assert not ours & (DENIED - NESTING)
    assert json.loads(profile.read_text())["defaultAction"] == "SCMP_ACT_ERRNO"
    # The engine's own profile takes it all away again.
    assert DENIED | {"sethostname", "chroot"} >= NESTING


def test_nothing_of_a_pc_is_built_into_the_image() -> None:
    """Only what .dockerignore names goes in: no key, no data folder, no environment."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert "*" in lines
    assert kept == {
        *("LICENSE", "README.md", "pyproject.toml", "requirements"),
        *("scripts", "src", "start.sh", "containers/node"),
    }
