"""The price of electricity: fetched for a day, kept in the node's folder, compared with the limit.

Nothing is asked of anybody unless the owner has said in which area the PC is. Where today's prices
cannot be had, those of the nearest of the last days stand in, at the same time of day; with none of
these a table of means does. Only without an area is the signal unknown, and fails closed.
"""

import random
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import aiohttp
import structlog

from garage_ai.catalog.spot_prices import SPOT
from garage_ai.node.guard.limits import Limits, PriceArea
from garage_ai.node.guard.prices import (
    Price,
    PriceBasis,
    Told,
    day_of,
    days_before,
    price_at,
    price_like,
    prices_in,
)
from garage_ai.node.guard.readers.port import FREE, Finding, unknown
from garage_ai.node.guard.signals import SignalName
from garage_ai.node.guard.words import Sentence, sentence
from garage_ai.node.page import read_page
from garage_ai.wire.secret_files import make_private_folder

_log = structlog.get_logger(__name__)

SOURCE: Final = "https://www.elprisetjustnu.se/api/v1/prices"
FETCH_SECONDS: Final = 10.0
FIRST_WAIT: Final = 60.0
LONGEST_WAIT: Final = 3600.0
DAYS_KEPT: Final = 3
_MAX_PAGE: Final = 256 * 1024
_OK: Final = 200

Fetch = Callable[[str], Awaitable[bytes]]


class NotFetched(Exception):
    """The prices were not to be had."""


async def fetch_page(url: str) -> bytes:
    """Fetch a page of bounded size. Raises: NotFetched."""
    limit = aiohttp.ClientTimeout(total=FETCH_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit, trust_env=True) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            if response.status != _OK:
                raise NotFetched(f"the source of prices answers {response.status}")
            page = await read_page(response, _MAX_PAGE)
            if len(page) > _MAX_PAGE:
                raise NotFetched("the page of prices is too long")
            return page
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise NotFetched(f"the source of prices was not reached: {type(error).__name__}") from error


class PriceBook:
    """Days of prices in a folder, fetched when they are missing, with growing waits between."""

    def __init__(
        self,
        folder: Path,
        *,
        fetch: Fetch = fetch_page,
        draw: Callable[[], float] = random.random,
        source: str = SOURCE,
    ) -> None:
        self._folder = folder
        self._fetch = fetch
        self._draw = draw
        self._source = source
        self._days: dict[tuple[date, str], list[Price]] = {}
        self._failures = 0
        self._not_before = float("-inf")

    async def day(self, day: date, area: str, now: float) -> list[Price] | None:
        """Give a day's prices, from here or from the source; None if they are not to be had."""
        known = self.kept(day, area)
        if known is not None or now < self._not_before:
            return known
        try:
            page = await self._fetch(f"{self._source}/{day:%Y/%m-%d}_{area}.json")
            prices = prices_in(page)
        except (NotFetched, ValueError) as error:
            self._failures += 1
            wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(self._failures - 1, 10))
            self._not_before = now + wait * (0.5 + self._draw() / 2)
            _log.info("no_prices", day=str(day), area=area, detail=str(error)[:200])
            return None
        self._failures = 0
        self._keep(day, area, page)
        self._days = {(day, area): prices}
        return prices

    def kept(self, day: date, area: str) -> list[Price] | None:
        """Give a day's prices if they are here."""
        prices = self._days.get((day, area))
        if prices is None:
            try:
                prices = prices_in(self._path(day, area).read_bytes())
            except (OSError, ValueError):
                return None
            self._days[day, area] = prices
        return prices

    def _keep(self, day: date, area: str, page: bytes) -> None:
        """Write a day down and drop old ones; a full disk costs nothing but another fetch."""
        keep = {self._path(each, area).name for each in (day, *days_before(day, DAYS_KEPT))}
        try:
            make_private_folder(self._folder)
            beside = self._path(day, area).with_suffix(".part")
            beside.write_bytes(page)
            beside.replace(self._path(day, area))
            for old in self._folder.glob("*.json"):
                if old.name not in keep:
                    old.unlink()
        except OSError as error:
            _log.warning("prices_not_kept", detail=str(error))

    def _path(self, day: date, area: str) -> Path:
        return self._folder / f"{day}_{area}.json"


class Electricity:
    """Whether electricity costs more than the owner allows. Fails closed."""

    signal: SignalName = "price"
    every = 20.0

    def __init__(
        self, book: PriceBook, *, wall: Callable[[], float], clock: Callable[[], float]
    ) -> None:
        self._book = book
        self._wall = wall
        self._clock = clock
        self.price: float | None = None
        """Kronor per kWh now, for those who count kronor; None before it was first read."""
        self.basis: PriceBasis | None = None
        """What that price is taken from."""

    def wanted(self, limits: Limits) -> bool:
        """Tell whether prices are wanted, for a limit or for counting kronor."""
        return limits.price_area is not None or limits.max_price is not None

    async def read(self, limits: Limits) -> Finding:
        """Compare the price that holds now with the limit."""
        area, limit = limits.price_area, limits.max_price
        if area is None:
            return unknown(sentence("no_area"))
        told = await self._told(datetime.fromtimestamp(self._wall(), UTC), area)
        self.price, self.basis = told.price, told.basis
        if limit is None or told.price <= limit:
            return FREE
        return Finding("busy", _words(told, area, limit))

    async def _told(self, at: datetime, area: PriceArea) -> Told:
        """Give the price that holds at a moment, or what stands in for it."""
        today = day_of(at)
        price = price_at(await self._book.day(today, area, self._clock()) or (), at)
        if price is not None:
            return Told(price, "today", today)
        for day in days_before(today, DAYS_KEPT):
            price = price_like(self._book.kept(day, area) or (), at)
            if price is not None:
                return Told(price, "before", day)
        return Told(SPOT[area], "table", today)


def _words(told: Told, area: PriceArea, limit: float) -> Sentence:
    known = {"price": told.price, "area": area, "limit": limit}
    if told.basis == "today":
        return sentence("price", **known)
    if told.basis == "before":
        return sentence("price.before", **known, day=told.day)
    return sentence("price.table", **known)


__all__ = [
    "DAYS_KEPT",
    "FIRST_WAIT",
    "LONGEST_WAIT",
    "SOURCE",
    "Electricity",
    "NotFetched",
    "PriceBook",
    "fetch_page",
]
