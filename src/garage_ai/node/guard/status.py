"""What the guard says about itself to the owner."""

import msgspec

from garage_ai.node.guard.limits import Limits, PriceArea
from garage_ai.node.guard.machine import Action
from garage_ai.node.guard.power import Meter
from garage_ai.node.guard.prices import PriceBasis
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

    `tokens` are those of answers that came to their end. `watts` is what the meters in `metered`
    tell now, and `most_watts` what the cards are held to; `kwh` and `kwh_this_month` are what was
    drawn while the engine ran, None where nobody tells. `kronor` is for the part of today's whose
    price was known; `price` holds now, in kronor per kWh without tax and fees, in `price_area`, as
    `price_source` tells it or, where it could not, as `price_basis` says.
    """

    sent_this_month: int
    tokens: int
    watts: float | None = None
    kwh: float | None = None
    kronor: float | None = None
    kwh_this_month: float | None = None
    metered: tuple[Meter, ...] = ()
    most_watts: float | None = None
    price: float | None = None
    price_area: PriceArea | None = None
    price_source: str = ""
    price_basis: PriceBasis | None = None


class CardStatus(msgspec.Struct, frozen=True):
    """A graphics card as its driver tells it: watts and degrees Celsius, None where it does not."""

    name: str
    watts: float | None
    temperature: float | None


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
    weights: int = 0
    """Bytes of fetched models on the disk."""
    cards: tuple[CardStatus, ...] = ()


__all__ = ["CardStatus", "DayStatus", "GuardStatus", "PauseStatus", "SignalStatus"]
