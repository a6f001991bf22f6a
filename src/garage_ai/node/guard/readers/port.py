"""What the guard needs of a reader."""

from dataclasses import dataclass
from typing import Final, Protocol

from garage_ai.node.guard.limits import Limits
from garage_ai.node.guard.signals import SignalName, Verdict
from garage_ai.node.guard.words import NOTHING, Sentence


@dataclass(frozen=True, slots=True)
class Finding:
    """What a reader found; `why` says what is busy, or why nothing could be read."""

    verdict: Verdict
    why: Sentence = NOTHING
    urgent: bool = False


FREE: Final = Finding("free")


def unknown(why: Sentence) -> Finding:
    """Say that nothing could be read."""
    return Finding("unknown", why)


class Reader(Protocol):
    """One signal's reader; `every` is the seconds between two readings."""

    @property
    def signal(self) -> SignalName: ...
    @property
    def every(self) -> float: ...

    def wanted(self, limits: Limits) -> bool:
        """Tell whether the owner wants this signal watched."""

    async def read(self, limits: Limits) -> Finding:
        """Read it now."""


__all__ = ["FREE", "Finding", "Reader", "unknown"]
