"""Electricity prices of a day in an area, in the format of elprisetjustnu.se. Pure.

One file for a day: a list of `{"SEK_per_kWh", "EUR_per_kWh", "EXR", "time_start", "time_end"}`,
hours until 2025-09-30, quarters of an hour since. Spot prices, without tax and fees.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

PriceBasis = Literal["today", "before", "table"]
"""What a price is taken from: the day's own, those of a day before, or a table of means."""

MAX_PRICES: Final = 200
"""A day of 25 hours has a hundred quarters."""


class Price(msgspec.Struct, frozen=True):
    """A price and when it holds, from `time_start` up to but without `time_end`."""

    SEK_per_kWh: Annotated[float, msgspec.Meta(ge=-1000, le=1000)]
    time_start: Annotated[datetime, msgspec.Meta(tz=True)]
    time_end: Annotated[datetime, msgspec.Meta(tz=True)]


class Told(NamedTuple):
    """A price in kronor per kWh, what it is taken from, and of which day that is."""

    price: float
    basis: PriceBasis
    day: date


_decoder: Final[msgspec.json.Decoder[list[Price]]] = msgspec.json.Decoder(
    Annotated[list[Price], msgspec.Meta(min_length=1, max_length=MAX_PRICES)]
)


def prices_in(text: bytes) -> list[Price]:
    """Read a day's prices. Raises: ValueError."""
    try:
        return _decoder.decode(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"these are no prices: {str(error)[:200]}") from error


def price_at(prices: Sequence[Price], at: datetime) -> float | None:
    """Give the price that holds at a moment, None if none does."""
    for price in prices:
        if price.time_start <= at < price.time_end:
            return price.SEK_per_kWh
    return None


def price_like(prices: Sequence[Price], at: datetime) -> float | None:
    """Give the price of the same time of day in another day's prices."""
    if not prices:
        return None
    begin = swedish(prices[0].time_start)
    local = swedish(at)
    then = begin.replace(hour=local.hour, minute=local.minute)
    return price_at(prices, then)


def swedish(at: datetime) -> datetime:
    """Give a moment as clocks in Sweden show it; as this PC's do where zones are not known."""
    try:
        return at.astimezone(ZoneInfo("Europe/Stockholm"))
    except ZoneInfoNotFoundError:
        return at.astimezone()


def day_of(at: datetime) -> date:
    """Give the Swedish day of a moment: prices come by it."""
    return swedish(at).date()


def days_before(day: date, count: int) -> list[date]:
    """List the days before one, the nearest first."""
    return [day - timedelta(days=back) for back in range(1, count + 1)]


__all__ = [
    "MAX_PRICES",
    "Price",
    "PriceBasis",
    "Told",
    "day_of",
    "days_before",
    "price_at",
    "price_like",
    "prices_in",
    "swedish",
]
