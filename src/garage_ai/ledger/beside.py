"""What is kept of accounts beside their entries: rewards, leases, and what was never billed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, Table, and_, select, union_all

from garage_ai.ledger.models import AccountId
from garage_ai.storage import Storage
from garage_ai.storage.tables import TURNS, leases, rewards, unaccounted


class DecidedReward(msgspec.Struct, frozen=True):
    """A transfer that was decided; `posted_at` is None until it stands in the books.

    An amount of zero says that it was decided to give nothing.
    """

    id: str
    period: str
    kind: str
    debit: str
    credit: str
    amount: int
    decided_at: datetime
    note: str
    posted_at: datetime | None


class KeptLease(msgspec.Struct, frozen=True):
    """A part of the payer's balance that a gateway has or had to promise by itself."""

    id: str
    gateway: str
    payer: str
    amount: int
    settled: int
    expires_at: datetime
    state: str


class Unaccounted(msgspec.Struct, frozen=True):
    """The bound of what a gateway may have served without a bill before it was gone."""

    lease: str
    gateway: str
    payer: str
    amount: int
    at: datetime


class Beside:
    """Rows of accounts by pages, in the order of their ids, from the one after `after`."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def rewards(self, account: AccountId, after: str, limit: int) -> Sequence[DecidedReward]:
        """Give what was decided to go to an account or from it. Raises: StorageError."""
        # Each by its index; what was held back goes from an account in a turn alone.
        to, turned = rewards.c.credit == account, and_(TURNS, rewards.c.debit == account)
        pages = (_page_of(rewards, these, after, limit).subquery() for these in (to, turned))
        both = union_all(*(select(page) for page in pages)).subquery()
        page = select(both).order_by(both.c.id).limit(limit)
        async with self._storage.read() as connection:
            return [DecidedReward(**row._asdict()) for row in await connection.execute(page)]

    async def leases(self, payer: AccountId, after: str, limit: int) -> Sequence[KeptLease]:
        """Give the leases on an account. Raises: StorageError."""
        rows = await self._page(leases, leases.c.payer == payer, after, limit)
        return [KeptLease(**row) for row in rows]

    async def unaccounted(self, payer: AccountId, after: str, limit: int) -> Sequence[Unaccounted]:
        """Give what may not have been billed to an account. Raises: StorageError."""
        rows = await self._page(unaccounted, unaccounted.c.payer == payer, after, limit)
        return [Unaccounted(**row) for row in rows]

    async def _page(
        self, table: Table, these: ColumnElement[bool], after: str, limit: int
    ) -> Sequence[dict[str, Any]]:
        page = _page_of(table, these, after, limit)
        async with self._storage.read() as connection:
            return [row._asdict() for row in await connection.execute(page)]


def _page_of(table: Table, these: ColumnElement[bool], after: str, limit: int) -> Select[Any]:
    [name] = table.primary_key.columns
    return select(table).where(these, name > after).order_by(name).limit(limit)


__all__ = ["Beside", "DecidedReward", "KeptLease", "Unaccounted"]
