"""Facts, read from files as systems have them and from programs that answer as they do."""

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from garage_ai.node.folder import NodeFolder
from garage_ai.node.hardware.commands import Ran
from garage_ai.node.preflight.mend import mend
from garage_ai.node.preflight.models import Namespaces
from garage_ai.node.preflight.reader import (
    cgroup_kind,
    collect,
    count_ids,
    exposed_parts,
    has_hook,
    read_cdi,
    read_controllers,
    read_folder,
    read_linger,
    read_namespaces,
    read_tool,
)

RECORDED = Path(__file__).parents[3] / "recorded/cdi"

# Lines of a spec as `nvidia-ctk cdi generate` writes it (NVIDIA Container Toolkit, "Support for
# Container Device Interface"), and of one inside WSL2, whose libraries bear no version.
SPEC = """---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
containerEdits:
  mounts:
  - containerPath: /usr/lib/x86_64-linux-gnu/libcuda.so.550.163.01
    hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.550.163.01
"""
WSL_SPEC = """cdiVersion: 0.3.0
kind: nvidia.com/gpu
devices:
    - name: all
      containerEdits:
        deviceNodes:
            - path: /dev/dxg
containerEdits:
    mounts:
        - hostPath: /usr/lib/wsl/drivers/nvmii.inf_amd64_c5b5db3e12daa5e3/libcuda.so.1
"""


def put(root: Path, path: str, text: str = "") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("name", "printed", "version"),
    [
        ("podman", "podman version 4.9.3\n", (4, 9)),
        ("podman", "podman version 4.3.1\n", (4, 3)),
        ("docker", "Docker version 28.1.1, build 4eba377\n", (28, 1)),
        ("docker", "podman version 4.9.3\n", None),  # the package podman-docker
        ("podman", "", None),
    ],
)
def test_versions(name: str, printed: str, version: tuple[int, int] | None) -> None:
    """A program is believed when it names itself."""
    tool = read_tool(name, lambda _: Ran(0, printed))
    assert (tool and tool.version) == version


def test_finds_cdi_specs_and_their_driver(tmp_path: Path) -> None:
    """Both folders are looked into; other files and other makers are passed over."""
    put(tmp_path, "etc/cdi/nvidia.yaml", SPEC)
    put(tmp_path, "var/run/cdi/nvidia.yaml", WSL_SPEC)
    put(tmp_path, "etc/cdi/amd.json", '{"kind": "amd.com/gpu"}')
    put(tmp_path, "etc/cdi/nvidia.yaml.bak", SPEC)
    put(tmp_path, "etc/cdi/nvidia.yml", SPEC)
    found = [(each.path, each.driver) for each in read_cdi(tmp_path)]
    assert found == [("/etc/cdi/nvidia.yaml", "550.163.01"), ("/var/run/cdi/nvidia.yaml", "")]


@pytest.mark.parametrize("vendor", ["management.", "k8s.device-plugin."])
@pytest.mark.parametrize("file", ["tesla-t4-groups.yaml", "desktop.yaml", "desktop.json"])
def test_what_is_described_for_kubernetes_is_not_for_podman(
    tmp_path: Path, file: str, vendor: str
) -> None:
    """The same card under another vendor's name is none that `nvidia.com/gpu=` finds."""
    written = (RECORDED / file).read_text()
    theirs = written.replace("nvidia.com/gpu", f"{vendor}nvidia.com/gpu")
    put(tmp_path, f"var/run/cdi/{vendor}nvidia.com-gpu{Path(file).suffix}", theirs)
    assert read_cdi(tmp_path) == ()
    put(tmp_path, f"var/run/cdi/nvidia{Path(file).suffix}", written)
    assert [each.path for each in read_cdi(tmp_path)] == [f"/var/run/cdi/nvidia{Path(file).suffix}"]


def test_reads_what_cdi_calls_the_cards(tmp_path: Path) -> None:
    """In YAML or in JSON; names of something else than a device are none of them."""
    uuid = "GPU-5e1f0c2a-0000-4000-8000-000000000001"
    both = SPEC.replace('- name: "0"', f'- name: {uuid}\n  x: y\n- name: "0"')
    put(tmp_path, "etc/cdi/a.yaml", both)
    put(tmp_path, "etc/cdi/b.yaml", WSL_SPEC)
    devices = [
        {"name": uuid, "edits": {"hooks": [{"hookName": "createContainer"}]}},
        {"name": "all"},
    ]
    described = {"kind": "nvidia.com/gpu", "devices": devices}
    put(tmp_path, "etc/cdi/c.json", json.dumps(described))
    put(tmp_path, "etc/cdi/d.json", json.dumps(described, indent=1))
    assert [each.names for each in read_cdi(tmp_path)] == [
        (uuid, "0"),
        ("all",),
        (uuid, "all"),
        (uuid, "all"),
    ]


T4 = "GPU-6cf00fa7-59ac-16f2-3e83-d24ccdc56f84"
OTHER_T4 = "GPU-8f1f4d06-07fd-27a7-52d5-e58aa060d256"
DESKTOP = "GPU-08b3c2e8-cb7b-ea3f-7711-a042c580b3e8"
FOUR = (
    "GPU-3e953d37-558d-fb20-8eca-25de8b98f5a7",
    "GPU-78744930-b3ce-0ddd-4a63-f730116fc653",
    "GPU-7c33d7b8-8cc2-676e-7678-b9a86d12cd93",
    "GPU-8a73f553-110d-eaae-45ef-751617ac723c",
)


@pytest.mark.parametrize(
    ("file", "driver", "names"),
    [
        ("tesla-t4.yaml", "570.133.20", ("0", T4, "all")),
        ("tesla-t4-groups.yaml", "615.71.09", ("0", OTHER_T4, "all")),
        ("four-cards.yaml", "580.126.09", ("0", "1", "2", "3", *FOUR)),
        ("desktop.yaml", "", ("0", DESKTOP, "all")),
        ("desktop.json", "", ("0", DESKTOP, "all")),
        ("wsl2.yaml", "", ("all",)),
    ],
)
def test_reads_what_the_toolkit_writes(
    tmp_path: Path, file: str, driver: str, names: tuple[str, ...]
) -> None:
    """Names stand before or below what they name, and libraries have other numbers than drivers'.

    Of two of these files so much was left out when they were published that no driver is told.
    """
    put(tmp_path, f"etc/cdi/{file}", (RECORDED / file).read_text())
    (found,) = read_cdi(tmp_path)
    assert (found.driver, found.names) == (driver, names)
    assert found.gids == (file == "tesla-t4-groups.yaml")
    assert found.uvm == (file in ("tesla-t4.yaml", "tesla-t4-groups.yaml", "desktop.yaml"))


def test_finds_what_docker_gives_cards_away_with(tmp_path: Path) -> None:
    """A program in one of the daemon's own folders."""
    assert not has_hook(tmp_path)
    hook = put(tmp_path, "usr/bin/nvidia-container-runtime-hook")
    assert not has_hook(tmp_path)
    hook.chmod(0o755)
    assert has_hook(tmp_path)


def test_counts_ids_by_name_and_by_number(tmp_path: Path) -> None:
    """All ranges of a user count; others', comments and broken lines do not."""
    file = put(
        tmp_path, "subuid", "anna:100000:65536\nbo:165536:65536\n1000:300000:1000\n# x\nanna:1:\n"
    )
    assert count_ids(file, "anna", 1000) == 66_536
    assert count_ids(file, "cia", 1002) == 0
    assert count_ids(tmp_path / "none", "anna", 1000) == 0


def test_kinds_of_cgroups(tmp_path: Path) -> None:
    """Each mount as systemd makes it."""
    assert cgroup_kind(tmp_path) == "none"
    (tmp_path / "sys/fs/cgroup/memory").mkdir(parents=True)
    assert cgroup_kind(tmp_path) == "v1"
    (tmp_path / "sys/fs/cgroup/unified").mkdir()
    assert cgroup_kind(tmp_path) == "hybrid"
    put(tmp_path, "sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n")
    assert cgroup_kind(tmp_path) == "v2"


def test_reads_what_systemd_delegates(tmp_path: Path) -> None:
    """The controllers of the user's own manager."""
    place = "sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers"
    put(tmp_path, place, "memory pids\n")
    assert read_controllers(tmp_path, 1000) == {"memory", "pids"}
    assert read_controllers(tmp_path, 1001) == frozenset()


def test_reads_lingering(tmp_path: Path) -> None:
    """A file of the user's name says yes; without systemd nobody says."""
    assert read_linger(tmp_path, "anna") is None
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    assert read_linger(tmp_path, "anna") is False
    put(tmp_path, "var/lib/systemd/linger/anna")
    assert read_linger(tmp_path, "anna") is True


def test_reads_the_kernels_switches(tmp_path: Path) -> None:
    """A switch the kernel does not have is not off."""
    assert read_namespaces(tmp_path) == Namespaces()
    put(tmp_path, "proc/sys/user/max_user_namespaces", "0\n")
    put(tmp_path, "proc/sys/kernel/unprivileged_userns_clone", "0\n")
    put(tmp_path, "proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n")
    assert read_namespaces(tmp_path) == Namespaces(0, cloning=False, restricted=True)


def test_finds_and_closes_what_others_may_open(tmp_path: Path) -> None:
    """`--fix` leaves the node's secrets to their owner, and nothing else is touched."""
    folder = NodeFolder(tmp_path / "node")
    folder.prepare()
    key = put(folder.path, "node.nk", "secret")
    other = put(folder.path, "notes.txt", "mine")
    key.chmod(0o644)
    other.chmod(0o644)
    folder.run.chmod(0o755)
    assert read_folder(folder).exposed == (str(folder.run), str(key))
    assert mend(folder) == (folder.run, key)
    assert exposed_parts(folder) == []
    assert other.stat().st_mode & 0o777 == 0o644
    assert mend(folder) == ()


@pytest.mark.parametrize(("inside", "mode"), [("dpkg", 0o755), ("x", 0o1777)])
def test_a_folder_that_is_not_the_nodes_is_not_closed(inside: str, mode: int) -> None:
    """Root who names /var by mistake, or /tmp, closes neither it nor /var/run to all the others."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        for each in (inside, "run", "logs"):
            (path / each).mkdir()
            (path / each).chmod(0o755)
        path.chmod(mode)
        folder = NodeFolder(path)
        found = read_folder(folder)
        assert (found.foreign, found.exposed) == (True, ())
        assert mend(folder) == ()
        assert [each.stat().st_mode & 0o7777 for each in (path, folder.run)] == [mode, 0o755]


def test_a_folder_that_is_still_to_be_made(tmp_path: Path) -> None:
    """What counts is whether it can be made."""
    found = read_folder(NodeFolder(tmp_path / "a/b"))
    assert (found.exists, found.writable, found.exposed) == (False, True, ())


def test_collects_from_a_whole_system(tmp_path: Path) -> None:
    """Files and programs together, without a real system being looked at."""
    put(tmp_path, "etc/cdi/nvidia.yaml", SPEC)
    put(tmp_path, "sys/fs/cgroup/cgroup.controllers", "memory\n")
    put(tmp_path, "etc/subuid", f"{os.getuid()}:100000:65536\n")

    def ask(argv: Sequence[str]) -> Ran:
        return Ran(0, "podman version 4.9.3\n") if argv[0] == "podman" else Ran(None)

    facts = collect(NodeFolder(tmp_path / "node"), root=tmp_path, ask=ask)
    assert facts.podman is not None
    assert (facts.podman.version, facts.docker) == ((4, 9), None)
    assert (facts.cgroup, facts.subuids) == ("v2", 65_536)
    assert facts.free_ids == "196608-262143"
    assert [each.driver for each in facts.cdi] == ["550.163.01"]


def test_asks_no_program_that_nobody_wants_to_know_of(tmp_path: Path) -> None:
    """Joining with a server of one's own runs neither nvidia-smi nor podman."""
    asked: list[str] = []

    def ask(argv: Sequence[str]) -> Ran:
        asked.append(argv[0])
        return Ran(None)

    collect(NodeFolder(tmp_path / "node"), None, ("os", "python", "folder"), ask=ask)
    assert asked == []
