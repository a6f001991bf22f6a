"""The names of cards for containers, on a PC of files and small programs."""

from pathlib import Path

import pytest
from tests.integration.node.test_sandbox import PODMAN, Stand, stand_in

from garage_ai.node.engines.devices import devices_for

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
    stand_in("nvidia-modprobe", f'[ "$*" = "-u -c=0" ] && touch {device}')
    assert await devices_for(PODMAN, (T4,), tmp_path) == (T4,)
    assert device.exists()
