"""The names of cards for containers, on a PC of files and small programs."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.node.test_sandbox import PODMAN, Stand, stand_in

from garage_ai.node.engines.devices import devices_for
from garage_ai.node.errors import CardUnusable

__all__ = ["stand_in"]

pytestmark = pytest.mark.anyio

T4 = "GPU-6cf00fa7-59ac-16f2-3e83-d24ccdc56f84"
RECORDED = Path(__file__).parents[2] / "recorded/cdi/tesla-t4.yaml"


async def test_cudas_device_is_there_before_a_container_is_given_it(
    stand_in: Stand, tmp_path: Path
) -> None:
    """Nobody has used CUDA since the PC was started: Podman would find no such device."""
    for folder in ("proc/driver/nvidia", "dev", "etc/cdi"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/cdi/nvidia.yaml").write_text(RECORDED.read_text())
    device = tmp_path / "dev/nvidia-uvm"
    made = f"touch {device} && chmod 666 {device}"
    stand_in("nvidia-modprobe", f'[ "$*" = "-u -c=0" ] && {made}')
    assert await devices_for(PODMAN, (T4,), tmp_path) == (T4,)
    assert device.exists()


async def test_a_device_that_no_container_may_open_stops_it(
    stand_in: Stand, tmp_path: Path
) -> None:
    """As on openSUSE and Gentoo: the engine would find no card, at each start anew."""
    for folder in ("dev", "etc/cdi"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/cdi/nvidia.yaml").write_text(RECORDED.read_text())
    for name, mode in (("nvidiactl", 0o666), ("nvidia-uvm", 0o666), ("nvidia0", 0o660)):
        (tmp_path / "dev" / name).touch()
        (tmp_path / "dev" / name).chmod(mode)
    with pytest.raises(CardUnusable, match=r"nvidia0.*NVreg_DeviceFileMode=0666"):
        await devices_for(PODMAN, (T4,), tmp_path)
    # Root's containers may have the group of the device (CDI 0.7, additionalGids).
    assert await devices_for(replace(PODMAN, rootless=False), (T4,), tmp_path) == (T4,)
