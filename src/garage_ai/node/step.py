"""What the agent is to do after something was heard, and what was done since the start."""

from dataclasses import dataclass, field

from garage_ai.node.exchange import Exchange
from garage_ai.wire.frames import Packet


@dataclass(slots=True)
class Step:
    """What is to be done: packets to send (subject, packet), exchanges to run and to stop."""

    send: list[tuple[str, Packet]] = field(default_factory=list)
    run: Exchange | None = None
    stop: list[tuple[Exchange, str]] = field(default_factory=list)
    """Exchanges whose engine must stop now, with the code of the failure to tell."""
    ignored: str = ""
    """Why a packet was not even answered; for the log."""


@dataclass(slots=True)
class Totals:
    """What was done since the start."""

    accepted: int = 0
    answered: int = 0
    failed: int = 0
    cancelled: int = 0
    refused: int = 0
    yielded: int = 0
    preempted: int = 0


__all__ = ["Step", "Totals"]
