"""The profile of system calls: Podman's own, as Debian 12 ships it, and what is taken away."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.parts.full_disk import full_disk

from garage_ai.node.errors import NoSeccomp
from garage_ai.node.sandbox.seccomp import DENIED, narrowed, write_profile

OWN = Path(__file__).parent / "podman-seccomp.json"


def allowed(profile: bytes) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for rule in json.loads(profile)["syscalls"]:
        if rule["action"] == "SCMP_ACT_ALLOW":
            for name in rule["names"]:
                found.setdefault(name, []).append(rule)
    return found


def test_what_is_denied_is_allowed_by_no_rule() -> None:
    """Not even by one that asks for a capability; only `clone` comes back, without namespaces."""
    before, after = allowed(OWN.read_bytes()), allowed(narrowed(OWN.read_bytes()))
    assert {"unshare", "mount", "setns", "clone3"} <= set(before)
    assert set(before) - set(after) == (DENIED & set(before)) - {"clone"}
    (clone,) = after["clone"]
    (condition,) = clone["args"]
    assert condition["op"] == "SCMP_CMP_MASKED_EQ"
    for flag in (
        0x00020000,
        0x02000000,
        0x04000000,
        0x08000000,
        0x10000000,
        0x20000000,
        0x40000000,
    ):
        assert condition["value"] & flag


def test_nothing_is_added_and_all_else_stays() -> None:
    """Everything beside the rules that allow is as Podman has it."""
    before, after = json.loads(OWN.read_bytes()), json.loads(narrowed(OWN.read_bytes()))
    refusals = [rule for rule in before["syscalls"] if rule["action"] != "SCMP_ACT_ALLOW"]
    assert refusals == [rule for rule in after["syscalls"] if rule["action"] != "SCMP_ACT_ALLOW"]
    assert {**before, "syscalls": None} == {**after, "syscalls": None}
    assert set(allowed(json.dumps(after).encode())) <= set(allowed(OWN.read_bytes()))


@pytest.mark.parametrize(
    "profile",
    [
        b"",
        b"{}",
        b'{"defaultAction":"SCMP_ACT_ERRNO"}',
        b'{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[]}',
        b'{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"action":"SCMP_ACT_ALLOW"}]}',
    ],
)
def test_a_profile_that_is_not_understood_is_refused(profile: bytes) -> None:
    """Rather no engine than one behind a profile that allows who knows what."""
    with pytest.raises(NoSeccomp):
        narrowed(profile)


def test_the_profile_is_written_into_the_nodes_folder(tmp_path: Path) -> None:
    """Where Podman has none, the owner is told which package brings it."""
    path = write_profile(OWN, tmp_path)
    assert path.parent == tmp_path
    assert path.read_bytes() == narrowed(OWN.read_bytes())
    for missing in (None, tmp_path / "missing.json"):
        with pytest.raises(NoSeccomp, match="containers-common"):
            write_profile(missing, tmp_path)


def test_a_profile_that_is_there_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk keeps no node from starting; another profile is written in its place."""
    path = write_profile(OWN, tmp_path)
    with full_disk(monkeypatch):
        assert write_profile(OWN, tmp_path) == path
    path.write_bytes(b"{}")
    assert write_profile(OWN, tmp_path).read_bytes() == narrowed(OWN.read_bytes())
