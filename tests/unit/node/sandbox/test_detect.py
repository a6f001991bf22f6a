"""What podman and docker say of themselves, read: recorded where they ran, documented elsewhere."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from garage_ai.node.errors import NoSeccomp, NoUserIds, RuntimeBroken, RuntimeTooOld
from garage_ai.node.sandbox.detect import read_docker, read_podman

HERE = Path(__file__).parent
ROOTLESS = json.loads((HERE / "podman-rootless-v1.json").read_text())
ROOTFUL = json.loads((HERE / "podman-rootful-v1.json").read_text())

# After the daemon's API reference, GET /info.
DOCKER: dict[str, Any] = {
    "ServerVersion": "28.3.0",
    "CgroupVersion": "2",
    "MemoryLimit": True,
    "PidsLimit": True,
    "CpuCfsQuota": True,
    "NCPU": 8,
    "SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin", "name=cgroupns"],
    "CDISpecDirs": ["/etc/cdi", "/var/run/cdi"],
}


def podman(host: dict[str, Any] | None = None, version: str = "4.9.3") -> str:
    return json.dumps({"host": ROOTLESS["host"] | (host or {}), "version": {"Version": version}})


def test_rootless_podman_on_cgroup_v1_enforces_nothing() -> None:
    """As recorded on Debian 12: there is no controller, and runc is named where it is."""
    found = read_podman(json.dumps(ROOTLESS), has_runc=True)
    assert (found.program, found.version, found.rootless) == ("podman", (4, 3, 1), True)
    assert (found.cgroups, found.controllers, found.enforces) == (1, frozenset(), False)
    assert found.oci == "runc"
    assert read_podman(json.dumps(ROOTLESS), has_runc=False).oci is None


def test_rootful_podman_enforces_on_cgroup_v1_too() -> None:
    """As recorded on Debian 12; root needs no subordinate ids."""
    found = read_podman(json.dumps(ROOTFUL), has_runc=True)
    assert not found.rootless
    assert found.enforces
    assert {"memory", "pids", "cpu"} <= found.controllers


def test_limits_of_an_outer_container_hold_for_all_inside() -> None:
    """Podman in a container has no cgroups to give; those around it keep the PC whole."""
    bare = read_podman(podman({"cgroupControllers": []}), has_runc=False)
    assert not bare.enforces
    assert dataclasses.replace(bare, bounded=True).enforces


def test_rootless_podman_on_cgroup_v2_enforces_what_is_delegated() -> None:
    """Ubuntu 22.04 delegates memory and pids alone; without pids it is not whole."""
    host = {"cgroupVersion": "v2", "cgroupControllers": ["memory", "pids"]}
    found = read_podman(podman(host), has_runc=True)
    assert (found.cgroups, found.enforces, found.oci) == (2, True, None)
    host["cgroupControllers"] = ["memory"]
    assert not read_podman(podman(host), has_runc=True).enforces


def test_selinux_is_seen_where_it_labels_containers() -> None:
    """As Fedora's Podman and Docker's daemon tell of it."""
    security = {"rootless": True, "seccompEnabled": True, "selinuxEnabled": True}
    assert read_podman(podman({"security": security}), has_runc=True).selinux
    assert not read_podman(podman(), has_runc=True).selinux
    options = [*DOCKER["SecurityOptions"], "name=selinux"]
    assert read_docker(json.dumps(DOCKER | {"SecurityOptions": options})).selinux
    assert not read_docker(json.dumps(DOCKER)).selinux


@pytest.mark.parametrize("version", ["3.4.4", "4.0.9", "2"])
def test_a_podman_without_cdi_is_too_old(version: str) -> None:
    """4.1 is the first; what is newer than we know of is welcome."""
    with pytest.raises(RuntimeTooOld, match=version):
        read_podman(podman(version=version), has_runc=True)
    assert read_podman(podman(version="6.0.0-rc1"), has_runc=True).version == (6, 0, 0)


@pytest.mark.parametrize("maps", [None, [{"container_id": 0, "host_id": 1000, "size": 1}]])
def test_a_user_without_subordinate_ids_is_told_the_command(maps: object) -> None:
    """The engine's user inside must be nobody here."""
    host = {"idMappings": {"uidmap": maps, "gidmap": maps}}
    with pytest.raises(NoUserIds, match="usermod --add-subuids"):
        read_podman(podman(host), has_runc=True)


def test_a_podman_of_another_place_fences_nothing_in_here() -> None:
    """Nor does its client know the options that keep an engine apart."""
    with pytest.raises(RuntimeBroken, match="CONTAINER_HOST"):
        read_podman(podman({"serviceIsRemote": True}), has_runc=True)


def test_no_container_runs_without_seccomp() -> None:
    """Its absence, or a daemon set to `unconfined`, is refused."""
    host = {"security": {"rootless": True, "seccompEnabled": False}}
    with pytest.raises(NoSeccomp):
        read_podman(podman(host), has_runc=True)
    for options in ([], ["name=seccomp,profile=unconfined"], None):
        with pytest.raises(NoSeccomp):
            read_docker(json.dumps(DOCKER | {"SecurityOptions": options}))


def test_docker_is_read_from_its_daemon() -> None:
    """CDI is known where the daemon names folders for it; limits where it says that they hold."""
    found = read_docker(json.dumps(DOCKER))
    assert (found.program, found.version, found.rootless) == ("docker", (28, 3, 0), False)
    assert (found.cgroups, found.enforces, found.cdi, found.cores) == (2, True, True, 8)
    older = read_docker(json.dumps(DOCKER | {"CDISpecDirs": None, "PidsLimit": False}))
    assert (older.enforces, older.cdi) == (False, False)
    rootless = DOCKER | {"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"]}
    assert read_docker(json.dumps(rootless)).rootless
    with pytest.raises(RuntimeTooOld):
        read_docker(json.dumps(DOCKER | {"ServerVersion": "19.03.15"}))


@pytest.mark.parametrize("said", ["", "{}", "[]", "not json", '{"host":1,"version":{}}'])
def test_what_says_something_else_is_broken(said: str) -> None:
    """A stand-in under the same name is no runtime."""
    with pytest.raises(RuntimeBroken):
        read_podman(said, has_runc=True)
    with pytest.raises(RuntimeBroken):
        read_docker(said)


def test_a_daemon_that_does_not_answer_is_broken() -> None:
    """`docker info` exits well and tells of it inside."""
    said = {"ServerErrors": ["Cannot connect to the Docker daemon at unix:///var/run/docker.sock."]}
    with pytest.raises(RuntimeBroken, match="Cannot connect"):
        read_docker(json.dumps(said))
