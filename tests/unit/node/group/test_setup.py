"""What may run a gang's engine: only what can put it into a network of its own."""

from pathlib import Path

import pytest

from garage_ai.node.engines.launch import BareLauncher
from garage_ai.node.errors import NotPossible
from garage_ai.node.folder import Choice
from garage_ai.node.group.setup import check_fence
from garage_ai.node.sandbox.containers import Containers
from garage_ai.node.sandbox.launcher import ContainerLauncher
from garage_ai.node.sandbox.spec import CONTROLLERS, Program, Runtime

VLLM = Choice(engine="vllm", models=("m",))


def fenced(folder: Path, program: Program, *, rootless: bool) -> ContainerLauncher:
    runtime = Runtime(program, (27, 1), rootless=rootless, cgroups=2, controllers=CONTROLLERS)
    return ContainerLauncher(Containers(runtime, folder), "sha256:1", folder / "run")


@pytest.mark.parametrize(
    ("program", "rootless"), [("podman", True), ("docker", False), ("docker", True)]
)
def test_what_cannot_give_an_engine_a_network_of_its_own_is_refused(
    tmp_path: Path, program: Program, rootless: bool
) -> None:
    """Rootless Podman cannot enter a namespace that root has made; Docker enters none by its path.

    An owner is told what to do instead.
    """
    with pytest.raises(NotPossible, match=r"run it as root, or, for development, with --sandbox"):
        check_fence(VLLM, fenced(tmp_path, program, rootless=rootless))


def test_podman_as_root_and_no_sandbox_at_all_are_taken(tmp_path: Path) -> None:
    """The second as its owner has chosen, knowing what it is for."""
    check_fence(VLLM, fenced(tmp_path, "podman", rootless=False))
    for bare in (BareLauncher(), None):
        check_fence(VLLM, bare)


def test_a_group_runs_vllm_alone(tmp_path: Path) -> None:
    """Whatever starts it."""
    with pytest.raises(NotPossible, match=r"add --engine vllm, or leave with: gai group leave"):
        check_fence(Choice(), fenced(tmp_path, "podman", rootless=False))
