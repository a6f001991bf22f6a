"""What an agent tells while it starts and serves; who shows it decides in which words."""

from dataclasses import dataclass
from typing import Literal

from garage_ai.catalog import Progress
from garage_ai.node.engines.port import Device
from garage_ai.node.preflight.models import Finding

Step = Literal[
    "preflight",
    "check",
    "identity",
    "pick",
    "ask",
    "enrol",
    "sandbox",
    "image",
    "model",
    "network",
    "line",
]


@dataclass(frozen=True, slots=True)
class Begun:
    """A step has begun; `detail` names what it is about."""

    step: Step
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """A step is done."""

    step: Step
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Unlisted:
    """The network's list of models cannot be had or read, so that `model` is served."""

    model: str


@dataclass(frozen=True, slots=True)
class Missing:
    """What this PC lacks for the chosen engine."""

    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Fetching:
    """A model's file is checked or on its way."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class State:
    """The agent's state as the gateways see it, and why it does not serve, if it does not.

    `swedish` is the reason in Swedish, where there is one.
    """

    state: str
    reason: str
    models: tuple[str, ...]
    swedish: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """The link to the network came up (`error` empty) or went down."""

    url: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Stopping:
    """The agent finishes `running` requests, within `seconds`."""

    running: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Exposed:
    """Something is not fenced in as it should be.

    The engine: not at all, or without limits that hold; the way to the gateway: not encrypted.
    """

    how: Literal["unsandboxed", "unlimited", "unencrypted"]


@dataclass(frozen=True, slots=True)
class Refused:
    """The network gives the node no work, by a code of its notices; empty when it does again."""

    code: str


@dataclass(frozen=True, slots=True)
class Computes:
    """What the engine is to compute on."""

    device: Device


Event = (
    Begun
    | Done
    | Unlisted
    | Missing
    | Fetching
    | State
    | Link
    | Stopping
    | Exposed
    | Refused
    | Computes
)

__all__ = [
    "Begun",
    "Computes",
    "Done",
    "Event",
    "Exposed",
    "Fetching",
    "Link",
    "Missing",
    "Refused",
    "State",
    "Step",
    "Stopping",
    "Unlisted",
]
