"""CUDA's device, made where the driver runs without it."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from garage_ai.node.hardware.commands import Ran
from garage_ai.node.hardware.uvm import have_uvm, lacks_uvm

DRIVER, DEVICE, WSL = "proc/driver/nvidia/version", "dev/nvidia-uvm", "dev/dxg"


@pytest.mark.parametrize(
    ("files", "lacks"),
    [((), False), ((DRIVER,), True), ((DRIVER, DEVICE), False), ((DRIVER, WSL), False)],
)
def test_it_is_asked_for_where_it_lacks(
    tmp_path: Path, files: tuple[str, ...], lacks: bool
) -> None:
    """After a start of the PC; without a driver, inside WSL and where it is, nothing is run."""
    for each in files:
        (tmp_path / each).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / each).touch()
    asked: list[Sequence[str]] = []

    def ask(argv: Sequence[str]) -> Ran:
        asked.append(argv)
        return Ran(None)

    assert lacks_uvm(tmp_path) == lacks
    have_uvm(tmp_path, ask)
    assert asked == [("nvidia-modprobe", "-u", "-c=0")] * lacks
