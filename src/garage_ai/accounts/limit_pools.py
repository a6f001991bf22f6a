"""Pools in SQL: where the gateways of one network meet over a limit."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple, Protocol

import msgspec
from sqlalchemy import Select, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.accounts.limit_models import Subject
from garage_ai.accounts.windows import Answer, Ask, Dimension, Pool
from garage_ai.storage import Storage
from garage_ai.storage.moments import seconds_now
from garage_ai.storage.tables import limit_pools

SECONDS: Final = 2.0
"""Longest exchange; a lease outlives it."""

AT_ONCE: Final = 200
"""Pools in one transaction, which holds their rows; a gateway's hand is never longer."""

_decoder: Final = msgspec.json.Decoder(Pool)
_encoder: Final = msgspec.json.Encoder()


class PoolId(NamedTuple):
    """Which limit of whom."""

    subject: Subject
    dimension: Dimension

    @property
    def text(self) -> str:
        """The key of its row."""
        return f"{self.subject}/{self.dimension}"


class Pools(Protocol):
    """Whoever keeps the pools."""

    async def exchange(self, asks: Mapping[PoolId, Ask]) -> Mapping[PoolId, Answer]:
        """Book what was used and give room. Raises: StorageError."""
        ...

    async def leave(self, gateway: str, used: Mapping[PoolId, int]) -> None:
        """Book the last use of a gateway that goes, and free its leases. Raises: StorageError."""


class StoredPools:
    """Pools as rows: read, changed by the pure rules and written back under a row's lock.

    The moments are the database's, as those of several machines differ.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known: set[PoolId] = set()

    async def exchange(self, asks: Mapping[PoolId, Ask]) -> Mapping[PoolId, Answer]:
        """Book what was used and give room. Raises: StorageError."""
        answers: dict[PoolId, Answer] = {}
        for ids in _groups(asks):
            async with self._storage.write(SECONDS) as connection:
                pools = await self._lock(connection, ids)
                now = await seconds_now(connection)
                given = {
                    id_: pool.exchange(id_.dimension, asks[id_], now) for id_, pool in pools.items()
                }
                await _write(connection, pools)
            self._known.update(ids)
            answers |= given
        return answers

    async def leave(self, gateway: str, used: Mapping[PoolId, int]) -> None:
        """Book the last use of a gateway that goes, and free its leases. Raises: StorageError."""
        for ids in _groups(used):
            async with self._storage.write(SECONDS) as connection:
                pools = await self._lock(connection, ids)
                now = await seconds_now(connection)
                for id_, pool in pools.items():
                    pool.leave(id_.dimension, gateway, used[id_], now)
                await _write(connection, pools)

    async def used(self, subject: Subject) -> Mapping[Dimension, int]:
        """Tell what of each limit is used, as far as gateways have told. Raises: StorageError."""
        ids = [PoolId(subject, dimension) for dimension in Dimension]
        async with self._storage.read() as connection:
            rows = (await connection.execute(_select(ids))).all()
            now = await seconds_now(connection)
        states = {row.id: _decoder.decode(row.state) for row in rows}
        return {
            id_.dimension: states[id_.text].used(id_.dimension, now)
            for id_ in ids
            if id_.text in states
        }

    async def _lock(self, connection: AsyncConnection, ids: Sequence[PoolId]) -> dict[PoolId, Pool]:
        new = [{"id": each.text, "state": _EMPTY} for each in ids if each not in self._known]
        if new:
            await connection.execute(self._storage.insert_new(limit_pools), new)
        # In one order, so that two gateways wait for each other and never both ways.
        rows = await connection.execute(_select(ids).order_by(limit_pools.c.id).with_for_update())
        states = {row.id: row.state for row in rows}
        return {each: _decoder.decode(states[each.text]) for each in ids}


_EMPTY: Final = _encoder.encode(Pool()).decode()
_UPDATE: Final = (
    update(limit_pools)
    .where(limit_pools.c.id == bindparam("pool"))
    .values(state=bindparam("changed"))
)


def _select(ids: Sequence[PoolId]) -> Select[tuple[str, str]]:
    return select(limit_pools).where(limit_pools.c.id.in_([each.text for each in ids]))


async def _write(connection: AsyncConnection, pools: Mapping[PoolId, Pool]) -> None:
    changed = [
        {"pool": id_.text, "changed": _encoder.encode(pool).decode()} for id_, pool in pools.items()
    ]
    await connection.execute(_UPDATE, changed)


def _groups(ids: Mapping[PoolId, object]) -> Sequence[Sequence[PoolId]]:
    ordered = iter(sorted(ids, key=lambda each: each.text))
    return list(iter(lambda: list(islice(ordered, AT_ONCE)), []))


__all__ = ["PoolId", "Pools", "StoredPools"]
