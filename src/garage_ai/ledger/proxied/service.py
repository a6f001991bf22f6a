"""Everything a gateway does with the calls of LiteLLM proxies."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import Self

from garage_ai.audit.models import Actor
from garage_ai.ledger.grants import Before, no_grants
from garage_ai.ledger.proxied.booking import Booker, Books
from garage_ai.ledger.proxied.calls import ProxiedCalls
from garage_ai.ledger.proxied.mappings import Mappings
from garage_ai.ledger.proxied.models import Mapping, MappingKind, ProxiedCall, TellResult
from garage_ai.ledger.proxied.reconciliation import Page, Reconciliation
from garage_ai.storage import KeyId, MemberId, Storage


class Proxied:
    """Keep calls, map them to members, pass on what they cost, compare both sides."""

    def __init__(
        self, storage: Storage, books: Books | None = None, *, before: Before = no_grants
    ) -> None:
        self._calls = ProxiedCalls(storage)
        self._mappings = Mappings(storage)
        self._reconciliation = Reconciliation(storage, self._calls)
        self._booker = Booker(storage, books, before=before) if books is not None else None
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def start(
        cls, storage: Storage, books: Books | None = None, *, before: Before = no_grants
    ) -> Self:
        """Start to pass on what waits; without books calls are kept and nothing is booked.

        `before` is done for a member before a call is passed on to it.
        """
        proxied = cls(storage, books, before=before)
        if proxied._booker is not None:
            proxied._task = asyncio.create_task(proxied._booker.run(), name="passing-on")
        return proxied

    async def close(self) -> None:
        """Stop passing on; what waits is passed on after the next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def tell(
        self, proxy: MemberId, key: KeyId, calls: Sequence[ProxiedCall]
    ) -> list[TellResult]:
        """Keep what a proxy tells. Raises: StorageError."""
        results = await self._calls.tell(proxy, key, calls)
        self._look()
        return results

    async def map(self, kind: MappingKind, value: str, member: MemberId, *, by: Actor) -> Mapping:
        """Map to a member. Raises: InvalidMapping, UnknownMember, StorageError."""
        mapping = await self._mappings.put(kind, value, member, by=by)
        self._look()
        return mapping

    async def unmap(self, kind: MappingKind, value: str, *, by: Actor) -> Mapping:
        """Take a mapping away. Raises: MappingNotFound, StorageError."""
        return await self._mappings.remove(kind, value, by=by)

    async def mappings(self) -> list[Mapping]:
        """Give all mappings. Raises: StorageError."""
        return await self._mappings.list()

    async def compare(
        self, since: datetime | None, until: datetime | None, after: str | None
    ) -> Page:
        """Compare a page of both sides. Raises: ValueError, StorageError."""
        return await self._reconciliation.page(since, until, after)

    def _look(self) -> None:
        if self._booker is not None:
            self._booker.wake()


__all__ = ["Proxied"]
