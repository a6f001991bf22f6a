"""What an item costs, out of what its batch was promised; kept until the item's result is written.

`ItemBills` stands where a chat's books and usage writer stand: the bill's transfers and the one
usage record of an item wait here, and go into the database with its result.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from garage_ai.batch.worker.promises import Models, Prices
from garage_ai.ledger import NanoGai, Transfer
from garage_ai.serving import Bill, Billing, Call, is_free
from garage_ai.serving.books import FREE, Quote
from garage_ai.storage import UsageRecord


@dataclass(slots=True)
class ItemBill:
    """An item that runs: what it may cost, at the prices of which moment, and how that ended."""

    amount: NanoGai
    moment: datetime
    record: "asyncio.Future[UsageRecord]"
    transfers: tuple[Transfer, ...] = field(default=())

    def settle(self, transfers: Sequence[Transfer]) -> None:
        """Take what the item cost."""
        self.transfers = tuple(transfers)

    def void(self) -> None:
        """Take nothing: what is not settled stays with the batch."""


class ItemBills:
    """The items that run, by their requests' ids. All methods belong to the event loop."""

    def __init__(self, billing: Billing, prices: Prices, models: Models) -> None:
        self._billing = billing
        self._prices = prices
        self._models = models
        self._open: dict[str, ItemBill] = {}

    @contextmanager
    def begin(self, request_id: str, amount: NanoGai, moment: datetime) -> Iterator[ItemBill]:
        """Bill a request out of an amount that is promised, for the length of a block."""
        record = asyncio.get_running_loop().create_future()
        bill = self._open[request_id] = ItemBill(amount, moment, record)
        try:
            yield bill
        finally:
            del self._open[request_id]
            record.cancel()

    def quote(self, call: Call, model: str, tokens: tuple[int, int]) -> Quote | None:
        """Price an item as when its batch was submitted; it costs what it was promised at most."""
        del tokens
        if is_free(call.key):
            return None
        held = self._open[call.request_id]
        digest = self._models.digest(model)
        price = self._prices.entry_at(held.moment, digest, model).batch_price
        return Quote(price, held.amount)

    async def open(self, call: Call, quote: Quote | None) -> Bill:
        """Bill an item out of what its batch was promised."""
        if quote is None:
            return FREE
        return self._billing.promised(call, quote.price, self._open[call.request_id])

    def put(self, record: UsageRecord) -> None:
        """Take the usage record of an item; of one that nobody waits for any more there is none."""
        held = self._open.get(record.request_id)
        if held is not None and not held.record.done():
            held.record.set_result(record)


__all__ = ["ItemBill", "ItemBills"]
