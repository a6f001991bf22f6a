"""What serving needs of the books: a promise before a request runs, and its end afterwards."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from garage_ai.ledger import NanoGai, Receipt
from garage_ai.ledger.charges import Price
from garage_ai.serving.models import Call
from garage_ai.storage.usage import UsageRecord

Write = Callable[[Receipt], None]


class Quote(msgspec.Struct, frozen=True):
    """The price that holds for one request, and what it may cost at worst."""

    price: Price
    worst: NanoGai


class Bill(Protocol):
    """What one request may cost, promised."""

    def weigh(self) -> float:
        """Tell its share of the turns where some wait, beside other members'."""
        ...

    def close(self, record: UsageRecord, write: Write) -> None:
        """Take the end of the request; never waits.

        `write` is given the record with its charge and what is to be entered for it, exactly once.
        """


class Books(Protocol):
    """Who may have answers, and what they cost."""

    def quote(self, call: Call, model: str, tokens: tuple[int, int]) -> Quote | None:
        """Price a call of so many tokens of prompt and answers; None where it is not billed."""

    async def open(self, call: Call, quote: Quote | None) -> Bill:
        """Promise that a call can be paid at the price quoted. Raises: ServingError."""
        ...


class FreeBill:
    """The bill of a request that costs nothing; None where it was not let in."""

    def __init__(self, charge: int | None) -> None:
        self._charge = charge

    def weigh(self) -> float:
        """Weigh as much as everybody else."""
        return 1.0

    def close(self, record: UsageRecord, write: Write) -> None:
        """Write the record."""
        write(Receipt(record if self._charge is None else record.but(charge=self._charge)))


UNBILLED = FreeBill(None)
FREE = FreeBill(0)


__all__ = ["FREE", "UNBILLED", "Bill", "Books", "FreeBill", "Quote", "Write"]
