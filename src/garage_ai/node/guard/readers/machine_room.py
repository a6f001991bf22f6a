"""Battery and temperature, as the kernel tells them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import psutil

from garage_ai.node.guard.limits import Limits
from garage_ai.node.guard.readers.port import FREE, Finding, unknown
from garage_ai.node.guard.signals import SignalName
from garage_ai.node.guard.words import sentence

PROCESSORS: Final = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
"""The kernel's drivers for a processor's own sensors."""


class Heat(Protocol):
    """One sensor."""

    @property
    def current(self) -> float: ...


SUPPLIES: Final = Path("/sys/class/power_supply")
"""What the PC and its devices draw from (Documentation/ABI/testing/sysfs-class-power)."""


def on_battery(supplies: Path = SUPPLIES) -> bool | None:
    """Tell whether the PC draws from a battery of its own; None where that one does not tell.

    A mouse and a gamepad have batteries too, of the scope `Device`; they say nothing of the PC.
    """
    found = [each for each in sorted(supplies.glob("*")) if _told(each, "scope") != "Device"]
    states = [_told(each, "status") for each in found if _told(each, "type") == "Battery"]
    mains = [_told(each, "online") for each in found if _told(each, "type") == "Mains"]
    if not states or "1" in mains:
        return False
    if "Discharging" in states:
        return True
    return None if set(states) <= {"", "Unknown"} else False


def _told(supply: Path, what: str) -> str:
    try:
        return (supply / what).read_text("ascii", "replace").strip()
    except OSError:  # not told, or pulled out just now
        return ""


class Battery:
    """Whether the PC runs on battery. Fails open; a PC without a battery is not on it."""

    signal: SignalName = "battery"
    every = 5.0

    def __init__(self, look: Callable[[], bool | None] = on_battery) -> None:
        self._look = look

    def wanted(self, limits: Limits) -> bool:
        """Tell whether the owner wants it."""
        return not limits.on_battery

    async def read(self, limits: Limits) -> Finding:  # noqa: ARG002 - it has no limit
        """Look at the plug."""
        draws = self._look()
        if draws is None:
            return unknown(sentence("not_told"))
        return Finding("busy", sentence("battery")) if draws else FREE


class Temperature:
    """Whether it is too hot: the hottest of the graphics cards and the processor. Fails closed."""

    signal: SignalName = "temperature"
    every = 5.0

    def __init__(
        self,
        cards: Callable[[], Sequence[float]],
        look: Callable[[], Mapping[str, Sequence[Heat]]] = psutil.sensors_temperatures,
    ) -> None:
        self._cards = cards
        self._look = look
        self._hot = False

    def wanted(self, limits: Limits) -> bool:
        """Tell whether there is a limit."""
        return limits.max_temperature is not None

    async def read(self, limits: Limits) -> Finding:
        """Look for the hottest; once too hot, it must cool by five degrees."""
        sensors = self._look()
        found = [each.current for name in PROCESSORS for each in sensors.get(name, ())]
        found += self._cards()
        limit = limits.max_temperature
        if not found or limit is None:
            return unknown(sentence("not_told"))
        self._hot = max(found) > (limit - 5.0 if self._hot else limit)
        return Finding("busy", sentence("temperature", limit=limit)) if self._hot else FREE


__all__ = ["PROCESSORS", "SUPPLIES", "Battery", "Heat", "Temperature", "on_battery"]
