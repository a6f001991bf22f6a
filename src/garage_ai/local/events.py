"""What `gai up` tells its owner, as data; the command line finds the words."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from garage_ai.local.supervisor import Change
from garage_ai.node.guard.words import Sentence

StepName = Literal["keys", "nats", "gateway", "node", "model"]


@dataclass(frozen=True, slots=True)
class StepBegun:
    """A step of the start is under way."""

    name: StepName


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step is done, `seconds` after the start."""

    name: StepName
    seconds: float


@dataclass(frozen=True, slots=True)
class LeftoversEnded:
    """Children that an earlier start had left were ended."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StandsBack:
    """The own node is there and serves nobody yet: the PC's owner comes first."""

    reason: Sentence


@dataclass(frozen=True, slots=True)
class Ready:
    """The network serves; `model` is None where no node was asked for, `ca` the file to trust."""

    url: str
    key: str
    model: str | None
    ca: Path | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Leaving:
    """The network stops, in at most `seconds`; a second signal ends it at once."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Left:
    """Everything has ended."""


UpEvent = StepBegun | StepDone | LeftoversEnded | StandsBack | Ready | Leaving | Left | Change

__all__ = [
    "Leaving",
    "Left",
    "LeftoversEnded",
    "Ready",
    "StandsBack",
    "StepBegun",
    "StepDone",
    "StepName",
    "UpEvent",
]
