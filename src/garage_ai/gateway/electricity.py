"""What a node's work costs its owner in electricity: shown beside what it earns, never paid. Pure.

    kronor/kWh = (spot + TAX + TRANSFER + MARK_UP) · VAT

Whatever of it is assumed is named in `assumed`, so that nobody takes an estimate for a bill.
"""

from dataclasses import dataclass
from typing import Final, Literal

from garage_ai.catalog import find_card
from garage_ai.catalog.spot_prices import SPOT
from garage_ai.network.models import NodeView
from garage_ai.wire.benchmarks import Benchmark
from garage_ai.wire.messages import Energy

Assumption = Literal["fees", "spot", "area", "draw"]

TAX: Final = 0.36
"""Energy tax of 2026, kronor per kWh without VAT."""
TRANSFER: Final = 0.25
"""What a grid usually takes for a kWh; each has its own."""
MARK_UP: Final = 0.05
VAT: Final = 1.25

USUAL_AREA: Final = "SE3"
_AREAS: Final = {
    "SE1": ("SE-BD",),
    "SE2": ("SE-Z", "SE-Y", "SE-AC", "SE-X"),
    "SE4": ("SE-M", "SE-K", "SE-G", "SE-H", "SE-N"),
}
_BY_COUNTY: Final = {county: area for area, counties in _AREAS.items() for county in counties}
"""The area that most of a county is in; several are divided."""

LOADED: Final = 0.8
"""Share of its published power that a card draws while it makes tokens."""


@dataclass(frozen=True, slots=True)
class Electricity:
    """A node's electricity; `price` in kronor per kWh, all in. None where nothing is known.

    `kwh` is what the node's meters counted this month while it lent.
    """

    area: str
    price: float
    watts: float | None
    kwh: float | None
    kronor: float | None
    kwh_per_million: float | None
    kronor_per_million: float | None
    assumed: tuple[Assumption, ...]


def electricity_of(view: NodeView, benchmark: Benchmark | None) -> Electricity:
    """Reckon what a node draws and what that costs."""
    told = view.energy or Energy()
    assumed: list[Assumption] = ["fees"]
    area = told.area
    if area not in SPOT:
        area = _BY_COUNTY.get(view.region or "", USUAL_AREA)
        assumed.append("area")
    if told.spot is None:
        assumed.append("spot")
    price = all_in(SPOT[area] if told.spot is None else told.spot)
    per_million, guessed = _per_million(benchmark)
    if guessed:
        assumed.append("draw")
    return Electricity(
        area=area,
        price=round(price, 2),
        watts=told.watts,
        kwh=told.kwh,
        kronor=_cost(told.kwh, price),
        kwh_per_million=None if per_million is None else round(per_million, 3),
        kronor_per_million=_cost(per_million, price),
        assumed=tuple(assumed),
    )


def all_in(spot: float) -> float:
    """Add tax, transfer and VAT to a spot price in kronor per kWh."""
    return (spot + TAX + TRANSFER + MARK_UP) * VAT


def _cost(kwh: float | None, price: float) -> float | None:
    return None if kwh is None else round(kwh * price, 2)


def _per_million(benchmark: Benchmark | None) -> tuple[float | None, bool]:
    """Give the kWh of a million tokens, and whether it is a guess by the cards' published power."""
    if benchmark is None:
        return None, False
    if benchmark.watt_hours is not None:
        return benchmark.watt_hours, False  # Wh for a thousand are kWh for a million
    cards = [find_card(name) for name in benchmark.gpus]
    watts = LOADED * sum(card.power for card in cards if card is not None)
    speed = max((level.decode for level in benchmark.levels), default=0.0)
    if not cards or None in cards or not speed:
        return None, False
    return watts / (3.6 * speed), True


__all__ = ["Assumption", "Electricity", "all_in", "electricity_of"]
