"""What the guard hears about, and how each is taken. Pure.

A signal that cannot be read is never taken for a free PC: it is shown as unknown. Whether the node
serves meanwhile is written here: one that the owner set a limit for fails closed (the node does not
serve), one that is watched because it usually matters fails open (it serves, and says so). Where a
signal has already made the node stand back, not to know keeps it there for a while: a driver that
hangs under a game is no end of the game.
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from garage_ai.node.guard.words import NOTHING, Sentence

SignalName = Literal[
    "owner",
    "game",
    "gamemode",
    "gpu",
    "battery",
    "schedule",
    "price",
    "upload",
    "energy",
    "cpu",
    "temperature",
    "idle",
    "metered",
]
"""In the order in which they are told when several speak with the same weight."""

Verdict = Literal["free", "busy", "unknown"]
Level = Literal["no_new_work", "drain", "release"]

ORDER: Final[tuple[SignalName, ...]] = get_args(SignalName)
LEVELS: Final[tuple[Level, ...]] = get_args(Level)

STALE_SECONDS: Final = 150.0
"""A reading older than this says nothing any more; every reader is asked more often."""


BLIND_SECONDS: Final = 1800.0
"""A signal that holds the node and can no longer be read holds it for so long after its last word.

Bounded, for one that is gone for good, such as a desktop's bus that ended with its session.
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a signal said at a moment; `urgent` asks for the engine's end at once."""

    signal: SignalName
    verdict: Verdict
    at: float
    why: Sentence = NOTHING
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """How a signal is taken: what it leads to once it has held for `confirm` seconds.

    One that `lingers` must be over for as long as the owner's `resume_after`.
    """

    level: Level
    confirm: float = 0.0
    lingers: bool = True
    fails_closed: bool = True


RULES: Final[dict[SignalName, Rule]] = {
    "owner": Rule("drain", lingers=False),
    "game": Rule("release"),
    "gamemode": Rule("release", fails_closed=False),
    # A shader that compiles, or a preview, is over before it is worth a model's loading.
    "gpu": Rule("release", confirm=2.0, fails_closed=False),
    "battery": Rule("drain", confirm=5.0, fails_closed=False),
    "schedule": Rule("drain", lingers=False),
    "price": Rule("drain", lingers=False),
    "upload": Rule("drain", lingers=False),
    "energy": Rule("drain", lingers=False),
    "cpu": Rule("drain", confirm=10.0),
    "temperature": Rule("drain", confirm=10.0),
    # Its own limit is a time already.
    "idle": Rule("drain", lingers=False),
    "metered": Rule("no_new_work", fails_closed=False),
}

_NEEDED: Final = "its owner needs the PC"

TOLD: Final[dict[SignalName, str]] = {
    "owner": "paused by its owner",
    "game": _NEEDED,
    "gamemode": _NEEDED,
    "gpu": _NEEDED,
    "cpu": _NEEDED,
    "idle": _NEEDED,
    "battery": "the PC runs on battery",
    "temperature": "the PC is too hot",
    "metered": "its owner's network limit",
    "upload": "its owner's network limit",
    "schedule": "outside its owner's hours",
    "price": "electricity is too expensive",
    "energy": "its owner's limit on electricity",
}
"""What the network is told: which program somebody runs at home is nobody's business there."""

__all__ = [
    "BLIND_SECONDS",
    "LEVELS",
    "ORDER",
    "RULES",
    "STALE_SECONDS",
    "TOLD",
    "Level",
    "Reading",
    "Rule",
    "SignalName",
    "Verdict",
]
