"""By which names a container is given cards, whichever engine is to compute on them."""

import asyncio
from pathlib import Path
from typing import Final

from garage_ai.node.engines.cards import cdi_names
from garage_ai.node.errors import CardUnusable
from garage_ai.node.hardware.device_files import closed_device
from garage_ai.node.hardware.pc import read_gpus
from garage_ai.node.hardware.uvm import have_uvm
from garage_ai.node.preflight.container_checks import readable
from garage_ai.node.preflight.reader import read_cdi
from garage_ai.node.sandbox.spec import Runtime

_ROOT: Final = Path("/")


async def devices_for(
    runtime: Runtime, uuids: tuple[str, ...], root: Path = _ROOT
) -> tuple[str, ...]:
    """Give the names by which the runtime knows cards, whose devices are there by then.

    Raises: CardUnusable.
    """
    if not uuids or not runtime.cdi:
        return uuids
    await asyncio.to_thread(have_uvm, root)
    closed = closed_device(root) if runtime.rootless else None
    if closed is not None:
        raise CardUnusable(
            "Only a group of this PC may open {device}, and nobody in a container without root is "
            "in it. Fix: echo options nvidia NVreg_DeviceFileMode=0666 | sudo tee "
            "/etc/modprobe.d/zz-nvidia.conf, then restart the PC.",
            device=closed,
        )
    gpus, found = await asyncio.gather(
        asyncio.to_thread(read_gpus), asyncio.to_thread(read_cdi, root)
    )
    specs = readable(found, runtime.program, runtime.version)
    if found and not specs:
        raise CardUnusable(
            "Podman {version} cannot read the CDI description of the card. How to put that right: "
            "gai node doctor",
            version=".".join(map(str, runtime.version)),
        )
    if not specs and runtime.program == "podman":
        raise CardUnusable(
            "Containers are not told of the card: there is no CDI description of it. Install "
            "nvidia-container-toolkit, then: sudo nvidia-ctk cdi generate "
            "--output=/etc/cdi/nvidia.yaml"
        )
    described = {name for spec in specs for name in spec.names}
    return cdi_names(uuids, {card.uuid for card in gpus.cards}, described)


__all__ = ["devices_for"]
