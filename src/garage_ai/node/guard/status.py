"""What the guard says about itself to the owner."""

import msgspec

from garage_ai.node.guard.limits import Limits
from garage_ai.node.guard.machine import Action
from garage_ai.node.guard.signals import SignalName, Verdict
from garage_ai.node.guard.words import Sentence


class SignalStatus(msgspec.Struct, frozen=True):
    """A signal that is watched; `fails_closed` says what is done while it is unknown."""

    signal: SignalName
    verdict: Verdict
    why: Sentence
    fails_closed: bool


class PauseStatus(msgspec.Struct, frozen=True):
    """A time without serving; times in seconds since 1970, `until` None while it lasts."""

    since: float
    until: float | None
    why: Sentence
    signal: SignalName | None


class DayStatus(msgspec.Struct, frozen=True):
    """Sums of today, and of this month's upload.

    `tokens` are those of answers that came to their end. `watts` and `kwh` are what the driver of
    the graphics cards measured, the cards alone, None where nobody tells; `kronor` is for the part
    of it whose price was known.
    """

    sent_this_month: int
    tokens: int
    watts: float | None = None
    kwh: float | None = None
    kronor: float | None = None


class GuardStatus(msgspec.Struct, frozen=True):
    """What was decided, why and since when, and what it rests on."""

    action: Action
    reason: Sentence
    signal: SignalName | None
    since: float
    limits: Limits
    signals: tuple[SignalStatus, ...]
    pauses: tuple[PauseStatus, ...]
    today: DayStatus


__all__ = ["DayStatus", "GuardStatus", "PauseStatus", "SignalStatus"]
