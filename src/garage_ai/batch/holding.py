"""Whose work a batch is: one gateway at a time looks after it, for seconds that it renews.

Whoever lost a batch writes nothing more: each of its transactions says which hold it is of.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from sqlalchemy import and_, case, exists, false, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.batch.models import Batch, BatchId, batch_of
from garage_ai.storage import Storage, StorageError
from garage_ai.storage.moments import seconds_now
from garage_ai.storage.tables import batches

HOLD: Final = timedelta(seconds=20)
"""How long a batch waits for a gateway that is gone; twice the longest transaction."""
RENEW_SECONDS: Final = HOLD.total_seconds() / 4
_others: Final = batches.alias("others")


class HoldLost(Exception):
    """Another gateway has the batch by now, or it has moved on to another state."""


async def now_of(connection: AsyncConnection) -> datetime:
    """Tell the time by the clock that all gateways share."""
    return datetime.fromtimestamp(await seconds_now(connection), UTC)


class Hold:
    """A batch, as it was when it was taken, and the right to change it."""

    def __init__(self, storage: Storage, batch: Batch, token: str) -> None:
        self.batch = batch
        self._storage = storage
        self._token = token

    @classmethod
    async def claim(cls, storage: Storage, *, validating: bool = True) -> Self | None:
        """Take a batch that has something to be done now, endings before validations.

        Of a member's batches one is validated at a time; none is unless `validating`.
        Raises: StorageError.
        """
        async with storage.read() as connection:
            now = await now_of(connection)
            is_done = and_(
                batches.c.status == "in_progress",
                batches.c.holder.is_(None),
                batches.c.completed + batches.c.failed >= batches.c.total,
            )
            is_new = batches.c.status == "validating"
            of_member = (
                _others.c.member_id == batches.c.member_id,
                _others.c.status == "validating",
            )
            busy = exists().where(*of_member, _others.c.holder.is_not(None), _others.c.due_at > now)
            may_begin = ~busy if validating else false()
            due = select(batches.c.id, batches.c.due_at).where(
                or_(batches.c.due_at <= now, is_done), or_(~is_new, may_begin)
            )
            endings_first = due.order_by(case((is_new, 1), else_=0), batches.c.due_at)
            found = (await connection.execute(endings_first.limit(1))).first()
        return None if found is None else await cls._take(storage, found.id, found.due_at)

    @classmethod
    async def _take(cls, storage: Storage, batch: BatchId, due_at: datetime) -> Self | None:
        token = secrets.token_hex(8)
        same = (batches.c.id == batch) & (batches.c.due_at == due_at)
        async with storage.write() as connection:
            until = await now_of(connection) + HOLD
            mine = update(batches).where(same).values(holder=token, due_at=until)
            if not (await connection.execute(mine)).rowcount:
                return None
            row = await connection.execute(select(batches).where(batches.c.id == batch))
            return cls(storage, batch_of(row.one()), token)

    async def change(
        self, connection: AsyncConnection, values: Mapping[str, object] | None = None
    ) -> None:
        """Change the batch in the caller's transaction and hold it for longer.

        Raises: HoldLost, also where the batch is in another state than it was.
        """
        until = await now_of(connection) + HOLD
        mine = update(batches).where(
            batches.c.id == self.batch.id,
            batches.c.holder == self._token,
            batches.c.status == self.batch.status,
        )
        changed = await connection.execute(mine.values({"due_at": until, **(values or {})}))
        if not changed.rowcount:
            raise HoldLost(self.batch.id)
        wanted = select(batches).where(batches.c.id == self.batch.id)
        self.batch = batch_of((await connection.execute(wanted)).one())

    async def advance(self, **values: object) -> None:
        """Change the batch in a transaction of its own. Raises: HoldLost, StorageError."""
        async with self._storage.write() as connection:
            await self.change(connection, values)

    async def keep_while(self, work: Coroutine[None, None, None]) -> None:
        """Do something for as long as the batch is held, however long one step of it takes.

        Raises: HoldLost, and what the work raises.
        """
        working = asyncio.create_task(work, name=f"work-{self.batch.id}")
        try:
            while not (await asyncio.wait({working}, timeout=RENEW_SECONDS))[0]:
                # What fails is tried again: the hold outlasts three that do.
                with contextlib.suppress(StorageError):
                    await self._renew()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        await working

    async def _renew(self) -> None:
        """Hold the batch for longer, unless it is due: somebody has changed it."""
        async with self._storage.write() as connection:
            now = await now_of(connection)
            mine = (batches.c.id == self.batch.id) & (batches.c.holder == self._token)
            longer = update(batches).where(mine, batches.c.due_at > now).values(due_at=now + HOLD)
            if not (await connection.execute(longer)).rowcount:
                raise HoldLost(self.batch.id)

    async def let_go(self, again_in: timedelta = timedelta()) -> None:
        """Let any gateway go on, at once or later. Raises: StorageError."""
        async with self._storage.write() as connection:
            due = await now_of(connection) + again_in
            mine = (batches.c.id == self.batch.id) & (batches.c.holder == self._token)
            free = update(batches).where(mine, batches.c.due_at.is_not(None))
            await connection.execute(free.values(holder=None, due_at=due))


__all__ = ["HOLD", "Hold", "HoldLost", "now_of"]
