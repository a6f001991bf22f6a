"""What whole batches may cost, promised before they run: a lease of the payer's balance for each.

Its items are settled out of it, each with its result, and what they did not use goes back at the
end. Nothing of it is in any gateway's memory, so none that is killed leaves a doubt.
"""

from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from typing import Final, Protocol

from garage_ai.accounts import Key
from garage_ai.batch.errors import ReservationRefused
from garage_ai.batch.models import Batch
from garage_ai.batch.requests import Reading
from garage_ai.ledger import Leases, in_gai, member_account
from garage_ai.ledger.books import LeaseId
from garage_ai.ledger.charges import Price, charge
from garage_ai.ledger.leases import Request, Wish
from garage_ai.serving import UNKNOWN_CONTEXT, ServingError, is_free, worst_case
from garage_ai.serving.admission import Limits, models_for
from garage_ai.storage import MemberId, Storage
from garage_ai.wire.ids import Digest

HOLDER: Final = "batch"
"""Whose leases these are, where others name a gateway."""

LEASE_SECONDS: Final = 30 * 86_400.0
"""Far longer than any window: only a batch that nobody ever ended loses its promise by time."""


class Models(Protocol):
    """What models are, as far as it matters for their price."""

    def resolve(self, model: str, member: str = "", allowed: Collection[str] | None = None) -> str:
        """Give the served name of a model or alias, to who asks. Raises: ServingError."""
        ...

    def digest(self, model: str) -> Digest | None:
        """Name the manifest that a served name stands for."""

    def context(self, model: str) -> int | None:
        """Tell the longest context of a model, in tokens."""


class Entry(Protocol):
    """What a model costs, and batches of it."""

    @property
    def batch_price(self) -> Price:
        """What a batch pays."""
        ...


class Prices(Protocol):
    """The price list."""

    def entry(self, digest: str | None, model: str) -> Entry:
        """Give what holds now."""
        ...

    def entry_at(self, moment: datetime, digest: str | None, model: str) -> Entry:
        """Give what held at a moment."""
        ...


class Promises:
    """The batch room's `Reserve`, over the ledger."""

    def __init__(
        self,
        storage: Storage,
        prices: Prices,
        models: Models,
        limits: Limits,
        before: Callable[[MemberId], Awaitable[None]],
    ) -> None:
        """`before` is done for a payer whose balance is to be asked."""
        self._leases = Leases(storage, HOLDER, seconds=LEASE_SECONDS)
        self._prices = prices
        self._models = models
        self._limits = limits
        self._before = before

    def worst(self, key: Key, reading: Reading) -> int:
        """Tell what one item may cost at most, in nGAI."""
        if is_free(key):
            return 0
        allowed = models_for(key, reading.model, self._limits)
        try:
            model = self._models.resolve(reading.model, key.member, allowed)
        except ServingError:
            model = reading.model  # nobody serves it now; it is known by its name
        price = self._prices.entry(self._models.digest(model), model).batch_price
        context = self._models.context(model) or _unknown_context(reading)
        return charge(price, *worst_case(reading, context))

    async def take(self, batch: Batch) -> None:
        """Set `batch.reserved` nGAI aside. Raises: ReservationRefused, StorageError."""
        amount = batch.reserved
        if amount <= 0:
            return
        await self._before(batch.member)
        wish = Wish(amount, amount, amount)
        asked = Request(LeaseId(batch.id), member_account(batch.member), wish)
        [granted] = await self._leases.extend([asked])
        if granted.lease is None or granted.lease.amount < amount:
            raise ReservationRefused("insufficient_quota", _short(amount, granted.available))

    async def release(self, batch: Batch) -> None:
        """Give back what the items did not use. Raises: StorageError."""
        await self._leases.close([LeaseId(batch.id)])


def _unknown_context(reading: Reading) -> int:
    """Bound an item's context where it is only known when it runs: by its bytes and what it asks.

    A text has no more tokens than bytes; a picture has far fewer, and is billed by the piece.
    """
    prompt = 0 if reading.bound.media else len(reading.body)
    return max(UNKNOWN_CONTEXT, prompt, reading.bound.tokens or 0)


def _short(needed: int, available: int) -> str:
    return (
        f"This batch may cost up to {in_gai(needed)} GAI, and {in_gai(max(available, 0))} GAI can "
        "be spent now. Ask for fewer tokens (max_tokens) or in smaller batches, lend a GPU, or "
        "wait for the next month's free share."
    )


__all__ = ["Entry", "Models", "Prices", "Promises"]
