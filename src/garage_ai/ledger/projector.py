"""What happens in the background, in any gateway: queued entries are added to balances, leases of
gateways that are gone are taken back, and what came too late to be erased is forgotten."""

import asyncio
import random
from typing import Final, Self

import structlog
from sqlalchemy import select

from garage_ai.audit.models import utc_now
from garage_ai.ledger.leases import GRACE_SECONDS, Leases
from garage_ai.ledger.models import AccountId
from garage_ai.ledger.pages import absorb, lock, write_positions
from garage_ai.storage import Storage, StorageError, forget_late_words
from garage_ai.storage.tables import queued_entries

_log = structlog.get_logger(__name__)

ACCOUNTS: Final = 100
"""Accounts in one transaction: a few milliseconds of their locks."""

PAUSE_SECONDS: Final = 1.0
SWEEP_SECONDS: Final = 15.0
FORGET_SECONDS: Final = 3600.0


async def project(storage: Storage, accounts: int = ACCOUNTS) -> int:
    """Add what is queued for some accounts to their balances; give for how many.

    Two at once do no harm: of an account, the queue belongs to whoever has its balance locked.
    Raises: StorageError.
    """
    queued = select(queued_entries.c.account).distinct().limit(accounts)
    async with storage.read() as connection:
        found = [AccountId(name) for name in (await connection.execute(queued)).scalars()]
    if not found:
        return 0
    async with storage.write() as connection:
        before = await lock(storage, connection, sorted(found))
        positions = dict(before)
        await absorb(connection, positions, sorted(found))
        await write_positions(connection, positions, before)
    return len(found)


class Projector:
    """The gateway's part in that; `close` ends it."""

    def __init__(self, storage: Storage, leases: Leases) -> None:
        self.failures = 0
        self._storage = storage
        self._leases = leases
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def start(cls, storage: Storage, leases: Leases) -> Self:
        """Start on the running loop."""
        projector = cls(storage, leases)
        projector._task = asyncio.create_task(projector._run(), name="projector")
        return projector

    async def close(self) -> None:
        """Stop; what is queued stays queued."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        sweep_at = forget_at = loop.time()
        while True:
            try:
                while await project(self._storage) == ACCOUNTS:
                    pass
                if loop.time() >= sweep_at:
                    sweep_at = loop.time() + SWEEP_SECONDS
                    if await self._leases.sweep():
                        # There may be more: payers of a gateway that is gone wait for theirs.
                        sweep_at = loop.time()
                if loop.time() >= forget_at:
                    forget_at = loop.time() + FORGET_SECONDS
                    await self._leases.forget()
                    await forget_late_words(self._storage, utc_now())
            except StorageError as error:
                self.failures += 1
                _log.warning("projector_delayed", code=error.code)
                # Gateways that could not renew their leases either come first.
                sweep_at = loop.time() + GRACE_SECONDS
            except Exception:  # without this task balances would stand still
                self.failures += 1
                _log.exception("projector_failed")
            # Several gateways do this; they need not meet.
            await asyncio.sleep(PAUSE_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter


__all__ = ["Projector", "project"]
