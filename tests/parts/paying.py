"""A gateway's allowances with the writer behind them."""

from collections.abc import Sequence
from typing import Self

from tests.parts.money import receipt

from garage_ai.ledger import Allowances, Leases, Ledger, Reservation, Transfer, UsageWriter


class Paying(Allowances):
    """Allowances whose requests' ends are committed."""

    writer: UsageWriter

    @classmethod
    def over(cls, ledger: Ledger, leases: Leases) -> Self:
        """Start both on the running loop; `close` ends them."""
        paying = cls.start(leases)
        paying.writer = UsageWriter.start(ledger, on_end=paying.ended)
        return paying

    def pay(self, held: Reservation, transfers: Sequence[Transfer]) -> None:
        """End a request that cost something, or nothing."""
        settled = held.settle(transfers)
        if settled is not None and settled.transfers:
            self.writer.put(receipt(settled))

    async def close(self) -> None:
        """Commit what is settled and give the leases back."""
        await self.writer.close()
        await super().close()


__all__ = ["Paying"]
