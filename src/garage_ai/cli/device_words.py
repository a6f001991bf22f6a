"""What an engine computes on, in the owner's language."""

from typing import TYPE_CHECKING

from garage_ai.cli.node_words import say

if TYPE_CHECKING:
    from garage_ai.node.engines.port import Device
    from garage_ai.node.status import DeviceStatus


def device_words(device: "Device | DeviceStatus") -> str:
    """Name the cards and how much of the model is on them, or the processor."""
    if not device.cards:
        return say("status.device.processor")
    if not device.of:
        return ", ".join(device.cards)
    key = "status.device.cards" if device.layers == device.of else "status.device.part"
    return say(
        key,
        cards=", ".join(device.cards),
        layers=device.layers,
        of=device.of,
        times=device.slowdown,
    )


__all__ = ["device_words"]
