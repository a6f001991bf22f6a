"""What a PC says of itself, in files laid out as the kernel lays them out."""

from pathlib import Path

import pytest

from garage_ai.node.hardware.models import Gpus
from garage_ai.node.hardware.pc import (
    disk_free,
    is_wsl,
    nvidia_on_the_bus,
    other_cards,
    place,
    read_cpu,
    read_distribution,
    read_pc,
)


def put(root: Path, path: str, text: str = "") -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_reads_names(tmp_path: Path) -> None:
    """Distribution and processor, as they stand in os-release and cpuinfo."""
    put(tmp_path, "etc/os-release", 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 24.04.3 LTS"\n')
    put(tmp_path, "proc/cpuinfo", "processor\t: 0\nmodel name\t: AMD Ryzen 7 5800X\n")
    assert read_distribution(tmp_path) == "Ubuntu 24.04.3 LTS"
    assert read_cpu(tmp_path) == "AMD Ryzen 7 5800X"


def test_what_is_not_told_is_empty(tmp_path: Path) -> None:
    """No file is no reason to fail."""
    assert (read_distribution(tmp_path), read_cpu(tmp_path)) == ("", "")
    assert other_cards(tmp_path) == ()
    assert not nvidia_on_the_bus(tmp_path)


@pytest.mark.parametrize(
    ("release", "wsl"),
    [("5.15.167.4-microsoft-standard-WSL2", True), ("6.8.0-45-generic", False)],
)
def test_knows_wsl(tmp_path: Path, release: str, wsl: bool) -> None:
    """WSL2's kernel bears Microsoft's name."""
    assert is_wsl(release, tmp_path) is wsl


def test_knows_wsl_with_a_kernel_of_ones_own(tmp_path: Path) -> None:
    """Its device for the card gives it away."""
    put(tmp_path, "dev/dxg")
    assert is_wsl("6.6.0-mine", tmp_path)


@pytest.mark.parametrize(
    ("seen", "where"), [("pid:[4026531836]", "pc"), ("pid:[4026532301]", "container")]
)
def test_knows_a_container_by_its_list_of_processes(tmp_path: Path, seen: str, where: str) -> None:
    """Marks on the disk do not count; a Linux in WSL2 has a list of its own and is no container."""
    put(tmp_path, ".dockerenv")
    (tmp_path / "proc/self/ns").mkdir(parents=True)
    (tmp_path / "proc/self/ns/pid").symlink_to(seen)
    assert place(tmp_path) == where
    put(tmp_path, "dev/dxg")
    assert place(tmp_path) == "wsl"


def test_names_other_makers_once_for_each_card(tmp_path: Path) -> None:
    """A screen's connector beside the card is no second card; NVIDIA's are told of elsewhere."""
    put(tmp_path, "sys/class/drm/card0/device/vendor", "0x1002\n")
    put(tmp_path, "sys/class/drm/card0-DP-1/device/vendor", "0x1002\n")
    put(tmp_path, "sys/class/drm/card1/device/vendor", "0x8086\n")
    put(tmp_path, "sys/class/drm/card2/device/vendor", "0x10de\n")
    assert other_cards(tmp_path) == ("AMD", "Intel")


@pytest.mark.parametrize(("kind", "plugged"), [("0x030000", True), ("0x0c0330", False)])
def test_sees_a_card_without_a_driver(tmp_path: Path, kind: str, plugged: bool) -> None:
    """A display controller counts; the USB port of a card does not."""
    put(tmp_path, "sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n")
    put(tmp_path, "sys/bus/pci/devices/0000:01:00.0/class", f"{kind}\n")
    assert nvidia_on_the_bus(tmp_path) is plugged


def test_the_disk_of_a_folder_that_is_still_to_be_made(tmp_path: Path) -> None:
    """Its nearest folder that exists says how much is free."""
    assert disk_free(tmp_path / "a/b/c") > 0


def test_reads_this_pc(tmp_path: Path) -> None:
    """The PC that runs the tests has a processor and memory."""
    pc = read_pc(tmp_path, gpus=Gpus())
    assert pc.system == "Linux"
    assert pc.cores >= 1
    assert 0 < pc.memory_free <= pc.memory
    assert pc.kernel > (2, 6)
