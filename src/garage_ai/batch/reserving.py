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


__all__ = ["Reserve"]
