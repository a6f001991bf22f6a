"""When a child is started, restarted, ended: a pure machine, events in, instructions out.

    starting ──ready──► ready
       │ ▲               │
       │ └─due── backoff ◄┘ exited          stop asked: any ──► stopping ──exited──► stopped
       └─overdue (killed, then exited) ──► backoff
                         └ hung: looked for in vain (killed, then exited) ──► backoff

No clock and no randomness of its own: events carry the time and the draw.
"""

from dataclasses import dataclass
from typing import Final, Literal

State = Literal["starting", "ready", "backoff", "stopping", "stopped"]


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient a supervisor is; all in seconds.

    A child that was ready for `good_after` starts with a clean slate. It never gives up; after
    `worry_after` failures in a row it says so. A ready child is looked at every `look_every`; one
    that does not answer `hung_after` times in a row hangs, and is killed (None: never looked at).
    """

    first_delay: float = 0.1
    max_delay: float = 15.0
    good_after: float = 20.0
    start_limit: float = 120.0
    stop_limit: float = 10.0
    worry_after: int = 3
    look_every: float = 5.0
    hung_after: int | None = None


# --- events


@dataclass(frozen=True, slots=True)
class Begin:
    """The supervisor starts its work."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The child does what it is for."""

    at: float


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A child that was ready did not answer."""


@dataclass(frozen=True, slots=True)
class Exited:
    """The child ended; `code` is negative for a signal, `draw` a random number in [0, 1)."""

    at: float
    code: int
    draw: float


@dataclass(frozen=True, slots=True)
class Due:
    """The time of the last `Wait` is up."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The child is to end; `limit` replaces the policy's, in seconds."""

    limit: float | None = None


Event = Begin | Ready | Unanswered | Exited | Due | Stop

# --- instructions


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start the child."""


@dataclass(frozen=True, slots=True)
class Terminate:
    """Ask the child to end."""


@dataclass(frozen=True, slots=True)
class Kill:
    """End the child."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Send `Due` after so many seconds; replaces an earlier wait, None cancels it."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the owner: the child ended by itself with `code`, `failures` times in a row now.

    It is started again after `delay` seconds; `worry` says that this has gone on for long.
    """

    code: int
    failures: int
    delay: float
    worry: bool


Instruction = Spawn | Terminate | Kill | Wait | Report


class InvalidTransition(Exception):
    """An event that cannot come in this state; a bug in the shell."""

    code = "invalid_transition"


class Supervision:
    """The machine for one child."""

    def __init__(self, policy: Policy) -> None:
        self._policy: Final = policy
        self._state: State = "stopped"
        self._failures = 0
        self._unanswered = 0
        self._ready_since: float | None = None
        self._running = False

    @property
    def state(self) -> State:
        """Where the child is."""
        return self._state

    @property
    def failures(self) -> int:
        """Ends that nobody asked for, in a row."""
        return self._failures

    def handle(self, event: Event) -> tuple[Instruction, ...]:
        """Take an event and say what is to be done. Raises: InvalidTransition."""
        match event:
            case Begin() if self._state == "stopped":
                return self._spawn()
            case Ready(at) if self._state in ("starting", "ready", "stopping"):
                return self._ready(at)
            case Unanswered() if self._state in ("ready", "stopping"):
                return self._missed()
            case Exited() if self._running:
                return self._exited(event)
            case Due():
                return self._due()
            case Stop(limit):
                return self._stop(limit)
            case _:
                raise InvalidTransition(f"{event} in state {self._state}")

    def _spawn(self) -> tuple[Instruction, ...]:
        self._state, self._running, self._ready_since = "starting", True, None
        return (Spawn(), Wait(self._policy.start_limit))

    def _ready(self, at: float) -> tuple[Instruction, ...]:
        self._unanswered = 0
        if self._state != "starting":
            return ()
        self._state, self._ready_since = "ready", at
        return (Wait(None),)

    def _exited(self, event: Exited) -> tuple[Instruction, ...]:
        self._running = False
        if self._state == "stopping":
            self._state = "stopped"
            return (Wait(None),)
        good = (
            self._ready_since is not None
            and event.at - self._ready_since >= self._policy.good_after
        )
        self._failures = 1 if good else self._failures + 1
        self._state, self._ready_since = "backoff", None
        delay = backoff(self._policy, self._failures, event.draw)
        worry = self._failures >= self._policy.worry_after
        return (Report(event.code, self._failures, delay, worry), Wait(delay))

    def _missed(self) -> tuple[Instruction, ...]:
        self._unanswered += 1
        limit = self._policy.hung_after
        hangs = limit is not None and self._unanswered >= limit and self._state == "ready"
        return (Kill(),) if hangs else ()

    def _due(self) -> tuple[Instruction, ...]:
        match self._state:
            case "backoff":
                return self._spawn()
            case "starting" | "stopping":
                # Its time is up; what follows is its exit.
                return (Kill(), Wait(None))
            case _:
                return ()

    def _stop(self, limit: float | None) -> tuple[Instruction, ...]:
        if self._state == "stopped":
            return ()
        if not self._running:
            self._state = "stopped"
            return (Wait(None),)
        self._state = "stopping"
        return (Terminate(), Wait(self._policy.stop_limit if limit is None else limit))


def backoff(policy: Policy, failures: int, draw: float) -> float:
    """Give the seconds before the next start: doubling, bounded, half of it by chance.

    The first failure costs next to nothing, since a network without its server serves nobody.
    """
    doublings = min(failures - 1, 30)
    full = min(policy.max_delay, policy.first_delay * 2.0**doublings)
    return full * (0.5 + draw / 2)


__all__ = [
    "Begin",
    "Due",
    "Event",
    "Exited",
    "Instruction",
    "InvalidTransition",
    "Kill",
    "Policy",
    "Ready",
    "Report",
    "Spawn",
    "State",
    "Stop",
    "Supervision",
    "Terminate",
    "Unanswered",
    "Wait",
    "backoff",
]
