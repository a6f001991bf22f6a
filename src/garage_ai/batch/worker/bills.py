"""What an item costs, out of what its batch was promised; kept until the item's result is written.

`ItemBills` stands where a chat's books and usage writer stand: what an item used and cost waits
here, and goes into the database with its result.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from garage_ai.batch.worker.items import Item
from garage_ai.batch.worker.promises import Models, Prices
from garage_ai.ledger import LeaseId, NanoGai, Receipt, Settlement, Transfer
from garage_ai.serving import Bill, Billing, Call, is_free
from garage_ai.serving.books import FREE, Quote


@dataclass(slots=True)
class ItemBill:
    """An item that runs: what it may cost of its batch's promise, and how that ended.

    The prices are those of a moment.
    """

    batch: LeaseId
    amount: NanoGai
    moment: datetime
    receipt: "asyncio.Future[Receipt]"

    def settle(self, transfers: Sequence[Transfer]) -> Settlement:
        """Say what the item cost."""
        return Settlement(self.batch, transfers[0].debit, tuple(transfers))

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
    def begin(self, item: Item, moment: datetime) -> Iterator[ItemBill]:
        """Bill an item out of what is promised, at a moment's prices, for the length of a block."""
        receipt = asyncio.get_running_loop().create_future()
        bill = ItemBill(LeaseId(item.batch), item.hold, moment, receipt)
        self._open[item.request_id] = bill
        try:
            yield bill
        finally:
            del self._open[item.request_id]
            receipt.cancel()

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

    def put(self, receipt: Receipt) -> None:
        """Take what an item used and cost; of one that nobody waits for any more, nothing."""
        held = self._open.get(receipt.record.request_id)
        if held is not None and not held.receipt.done():
            held.receipt.set_result(receipt)


__all__ = ["ItemBill", "ItemBills"]
