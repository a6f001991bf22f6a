"""Payers who wait, and work that is done for many of them at once, round after round."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from garage_ai.ledger.allowance import Allowance
from garage_ai.ledger.models import AccountId
from garage_ai.ledger.reservation import Reservation
from garage_ai.storage import MemberId, StorageError, StorageTimeout

_log = structlog.get_logger(__name__)

PAYERS: Final = 200
"""Most payers of one round."""


@dataclass(slots=True, eq=False)
class Waiter:
    """A request that waits for its payer's lease."""

    amount: int
    future: asyncio.Future[Reservation]


@dataclass(slots=True, eq=False)
class Payer:
    """A payer with its lease, who waits for more of it, and whether some of it goes back."""

    member: MemberId
    account: AccountId
    allowance: Allowance
    waiting: list[Waiter] = field(default_factory=list)
    spare: bool = False

    def fail(self, error: BaseException) -> None:
        """Tell all who wait that it came to nothing."""
        waiting, self.waiting = self.waiting, []
        for waiter in waiting:
            if not waiter.future.done():
                waiter.future.set_exception(error)


class Rounds:
    """Work for payers; whoever comes during a round is in the next."""

    def __init__(self, name: str, work: Callable[[Sequence[Payer]], Awaitable[None]]) -> None:
        self._name = name
        self._work = work
        self._next: dict[MemberId, Payer] = {}
        self._now: list[Payer] = []
        self._task: asyncio.Task[None] | None = None

    def __contains__(self, mine: Payer) -> bool:
        return mine.member in self._next or mine in self._now

    def put(self, mine: Payer) -> None:
        """Take a payer into the next round."""
        self._next[mine.member] = mine
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=self._name)

    async def close(self) -> None:
        """Break off; whoever waits is told."""
        if self._task is not None:
            task = self._task
            task.cancel()
            await asyncio.wait({task})

    async def _run(self) -> None:
        try:
            while self._next:
                self._now = now = [*self._next.values()][:PAYERS]
                for mine in now:
                    del self._next[mine.member]
                try:
                    await self._work(now)
                except Exception as error:  # whoever waits hears of it
                    if not isinstance(error, StorageError):
                        _log.exception("lease_failed")
                    for mine in now:
                        mine.fail(error)
                self._now = []
        finally:
            self._task = None
            for mine in (*self._now, *self._next.values()):
                mine.fail(StorageTimeout("the gateway stops"))


__all__ = ["PAYERS", "Payer", "Rounds", "Waiter"]
