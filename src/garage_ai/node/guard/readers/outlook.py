"""What cannot be seen from where the agent runs: inside Windows, or inside a container.

What is seen there counts, but that nothing is seen says nothing.
"""

from collections.abc import Iterable
from typing import Final

from garage_ai.node.guard.limits import Limits
from garage_ai.node.guard.readers.port import Finding, Reader, unknown
from garage_ai.node.guard.signals import SignalName
from garage_ai.node.guard.words import Sentence, sentence
from garage_ai.node.hardware.models import Place

HIDDEN: Final[dict[Place, dict[SignalName, str]]] = {
    "pc": {},
    "wsl": {"game": "wsl", "gpu": "gpu.wsl", "cpu": "wsl", "idle": "idle.wsl"},
    "container": {"game": "container", "gpu": "container"},
}
"""Signals that are not told of the whole PC, and why. A container sees the whole processor."""


class Hidden:
    """A reader that sees a part of what it looks for."""

    def __init__(self, reader: Reader, why: Sentence) -> None:
        self.signal = reader.signal
        self.every = reader.every
        self._reader = reader
        self._why = why

    def wanted(self, limits: Limits) -> bool:
        """Tell whether the owner wants this signal watched."""
        return self._reader.wanted(limits)

    async def read(self, limits: Limits) -> Finding:
        """Look, and take nothing for free.

        A card tells of processes by numbers that mean others in here: of it nothing counts.
        """
        found = await self._reader.read(limits)
        if found.verdict == "busy" and self.signal != "gpu":
            return found
        return unknown(self._why)


def seen_from(place: Place, readers: Iterable[Reader]) -> tuple[Reader, ...]:
    """Give the readers as they are to be believed from there."""
    hidden = HIDDEN[place]
    return tuple(
        Hidden(each, sentence(hidden[each.signal])) if each.signal in hidden else each
        for each in readers
    )


__all__ = ["HIDDEN", "Hidden", "seen_from"]
