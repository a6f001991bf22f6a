"""From a container to a command line: one golden file for each kind of host."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from garage_ai.node.errors import NotPossible
from garage_ai.node.sandbox.argv import run_argv
from garage_ai.node.sandbox.build import build_argv
from garage_ai.node.sandbox.spec import ContainerSpec, Limits, Mount, Runtime

GOLDEN = Path(__file__).parent / "golden"
ALL = frozenset({"cpuset", "cpu", "io", "memory", "pids"})
GPUS = ("GPU-5e1f0c2a-0000-4000-8000-000000000001", "GPU-5e1f0c2a-0000-4000-8000-000000000002")

PODMAN = Runtime("podman", (4, 9, 3), rootless=True, cgroups=2, controllers=ALL)
DOCKER = Runtime("docker", (28, 3, 0), rootless=False, cgroups=2, controllers=ALL)

SPEC = ContainerSpec(
    image="sha256:" + "1" * 64,
    name="gai-0123456789abcdef-engine",
    command=("/usr/bin/python3", "-s", "/opt/garage/llamacpp_server.py", "--slots", "8"),
    limits=Limits(memory=6 << 30, cpus=3.0),
    mounts=(
        Mount(Path("/home/anna/garage/run/engine"), "/run/gai", writable=True),
        Mount(Path("/home/anna/garage/models/small.gguf"), "/models/small.gguf"),
    ),
    seccomp=Path("/home/anna/garage/seccomp.json"),
    labels=(("garage-ai.node", "nabc"), ("garage-ai.folder", "0123456789abcdef")),
)

DOCKERS = replace(SPEC, seccomp=None)

CASES = {
    "podman": (SPEC, PODMAN),
    "podman-gpus": (replace(SPEC, gpus=GPUS), PODMAN),
    "podman-no-cpu-controller": (SPEC, replace(PODMAN, controllers=ALL - {"cpu"})),
    "podman-cgroup-v1": (
        SPEC,
        replace(PODMAN, cgroups=1, controllers=frozenset(), oci="runc", files=1024, tasks=1000),
    ),
    "podman-with-a-place-to-run-from": (
        replace(
            SPEC,
            limits=Limits(memory=6 << 30, pids=2048, shm=2 << 30, cache=2 << 30),
            environment=(("HOME", "/cache"), ("TMPDIR", "/cache")),
        ),
        PODMAN,
    ),
    "podman-gpus-selinux": (replace(SPEC, gpus=GPUS), replace(PODMAN, selinux=True)),
    "podman-for-a-while": (replace(SPEC, limits=Limits(memory=1 << 30, seconds=60)), PODMAN),
    "docker": (DOCKERS, DOCKER),
    "docker-selinux": (DOCKERS, replace(DOCKER, selinux=True)),
    "docker-gpus": (replace(DOCKERS, gpus=GPUS), DOCKER),
    "docker-gpus-without-cdi": (replace(DOCKERS, gpus=GPUS), replace(DOCKER, cdi=False)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_command_is_what_was_agreed(name: str) -> None:
    """Word for word; GAI_WRITE_GOLDEN=1 writes what it is now, for a person to read."""
    argv = "\n".join(run_argv(*CASES[name])) + "\n"
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("GAI_WRITE_GOLDEN"):
        file.write_text(argv)
    assert argv == file.read_text()


@pytest.mark.parametrize("name", CASES)
def test_no_command_ever_widens(name: str) -> None:
    """Nothing of what opens a container is in any of them, and all that closes it is in each."""
    argv = run_argv(*CASES[name])
    text = " ".join(argv)
    for opening in ("privileged", "unconfined", "cap-add", "=host", "publish", ":latest", "--pid="):
        assert opening not in text
    for closing in ("--network=none", "--read-only", "--pull=never", "--user=61000:61000"):
        assert closing in argv
    assert any(word.lower() == "--cap-drop=all" for word in argv)
    assert any(word.startswith("--security-opt=no-new-privileges") for word in argv)
    writable = [word for word in argv if word.startswith("--mount=") and "readonly" not in word]
    assert writable == ["--mount=type=bind,src=/home/anna/garage/run/engine,dst=/run/gai"]


def test_nothing_of_the_hosts_environment_goes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret in the agent's environment is in no command."""
    monkeypatch.setenv("GAI_ENGINE_KEY", "a secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:a-secret@proxy:3128")
    for spec, runtime in CASES.values():
        assert "secret" not in " ".join(run_argv(spec, runtime))


@pytest.mark.parametrize("path", ["/home/a,b/x", '/home/"x', "relative/x", "/home/a\nb"])
def test_a_path_that_cannot_be_said_is_refused(path: str) -> None:
    """It would become another option of --mount, so the owner hears of it instead."""
    spec = replace(SPEC, mounts=(Mount(Path(path), "/run/gai"),))
    with pytest.raises(NotPossible, match="comma"):
        run_argv(spec, PODMAN)


def test_limits_of_this_process_bind_its_containers() -> None:
    """A container cannot be promised more open files or processes than its maker may have."""
    argv = run_argv(SPEC, replace(PODMAN, files=256, tasks=100))
    assert "--ulimit=nofile=256:256" in argv
    assert "--ulimit=nproc=100:100" in argv


def test_docker_is_asked_for_no_more_cores_than_it_has() -> None:
    """It would start nothing, and say "range of CPUs is from 0.01 to 2.00"."""
    assert "--cpus=2" in run_argv(DOCKERS, replace(DOCKER, cores=2))
    assert "--cpus=3" in run_argv(DOCKERS, replace(DOCKER, cores=16))
    assert "--cpus=3" in run_argv(DOCKERS, DOCKER)


def test_an_image_of_the_owners_is_built_upon_without_a_network() -> None:
    """What it needs is in it; else the build may fetch two Debian packages."""
    offline = build_argv(PODMAN, "localhost/mine:1", "t", Path("/c"), offline=True)
    assert "--network=none" in offline
    assert "--pull=never" in offline
    online = build_argv(DOCKER, "docker.io/library/debian@sha256:0", "t", Path("/c"), offline=False)
    assert "--network=none" not in online
    assert online[:3] == ("docker", "build", "--quiet")
