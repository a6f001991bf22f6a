"""What a batch may cost, promised before it runs: the port to the books."""

from typing import Protocol

from garage_ai.accounts import Key
from garage_ai.batch.models import Batch
from garage_ai.batch.requests import Reading


class Reserve(Protocol):
    """Promises for whole batches; each call is idempotent by the batch's id."""

    def worst(self, key: Key, reading: Reading) -> int:
        """Tell what one item may cost at most, in nGAI; waits for nothing."""
        ...

    async def take(self, batch: Batch) -> None:
        """Set `batch.reserved` nGAI aside before the batch runs. Raises: ReservationRefused."""

    async def release(self, batch: Batch) -> None:
        """Give back what the items did not use, after the batch's end."""


class NoReserve:
    """Nothing is set aside where nothing is billed."""

    def worst(self, _key: Key, _reading: Reading) -> int:
        """Cost nothing."""
        return 0

    async def take(self, _batch: Batch) -> None:
        """Promise nothing."""

    async def release(self, _batch: Batch) -> None:
        """Give nothing back."""


__all__ = ["NoReserve", "Reserve"]
