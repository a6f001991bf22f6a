"""How usage records become rows."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.storage.changes import Change
from garage_ai.storage.database import Storage
from garage_ai.storage.tables import members, usage
from garage_ai.storage.usage import UsageRecord

_encoder: Final = msgspec.json.Encoder()

_LATELY: Final = timedelta(days=2)
"""A request takes minutes, and its record waits in memory while the database is away."""


class UsageRows:
    """Records as a part of a transaction that writes what was used for, too."""

    def __init__(self, storage: Storage) -> None:
        self._insert = storage.new_rows(usage, _COLUMNS)

    def change(self, records: Sequence[UsageRecord]) -> Change:
        """Bind records for `Storage.write_exactly`. Raises: ValueRefused."""
        return self._insert.change([_row(record) for record in records])

    async def add(self, connection: AsyncConnection, records: Sequence[UsageRecord]) -> int:
        """Write records in the transaction that is under way; give how many were not there yet.

        Raises: StorageError.
        """
        if not records:
            return 0
        return await self._insert.add(connection, [_row(record) for record in records])


async def recorded(connection: AsyncConnection, requests: Collection[str]) -> set[str]:
    """Tell which requests have a record already; at most some hundred are asked about."""
    found = select(usage.c.request_id).where(usage.c.request_id.in_(requests))
    return set(await connection.scalars(found))


async def forget_late_words(storage: Storage, now: datetime) -> None:
    """Forget what clients called requests whose member was erased while they were under way.

    Their records come after the erasure, which forgot those that were there. Raises: StorageError.
    """
    since = now - _LATELY
    async with storage.read() as connection:
        erased = select(members.c.id).where(members.c.erased_at > since)
        found = list(await connection.scalars(erased))
    if not found:
        return
    late = usage.c.member_id.in_(found) & (usage.c.at > since) & usage.c.caller_id.is_not(None)
    async with storage.write() as connection:
        await connection.execute(update(usage).where(late).values(caller_id=None))


_COLUMNS: Final = (
    "request_id",
    "at",
    "member_id",
    "key_id",
    "route",
    "model",
    "digest",
    "node_id",
    "outcome",
    "stream",
    "prompt_tokens",
    "completion_tokens",
    "content_events",
    "bytes_out",
    "ttft_s",
    "duration_s",
    "attempts",
    "parts",
    "charge",
    "caller_id",
    "counted_prompt_tokens",
    "counted_completion_tokens",
    "count_source",
)


def _row(record: UsageRecord) -> tuple[object, ...]:
    return (
        record.request_id,
        record.at,
        record.member,
        record.key_id,
        record.route,
        record.model[:255].replace("\0", "\ufffd"),  # PostgreSQL's text holds no NUL
        record.digest,
        record.node,
        record.outcome,
        record.stream,
        record.prompt_tokens,
        record.completion_tokens,
        record.content_events,
        record.bytes_out,
        record.ttft_s,
        record.duration_s,
        record.attempts,
        _encoder.encode(record.parts).decode() if record.parts else None,
        record.charge,
        record.caller_id,
        record.counted_prompt_tokens,
        record.counted_completion_tokens,
        record.count_source,
    )


__all__ = ["UsageRows", "forget_late_words", "recorded"]
