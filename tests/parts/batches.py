"""Batches as their validation leaves them: in progress, with their items."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert, select

from garage_ai.storage import OPERATOR, MemberId, Storage
from garage_ai.storage.tables import batch_items, batches, files

KEY = "key_1"


def now() -> datetime:
    return datetime.now(UTC)


async def add_batch(
    storage: Storage,
    name: str,
    items: int | Sequence[tuple[int, int]],
    *,
    member: MemberId = OPERATOR,
    key: str = KEY,
    model: str = "small",
    hours: float = 24,
    hold: int = 0,
    input_file: str = "file-1",
    idempotency_key: str | None = None,
    isolation: str | None = None,
) -> None:
    """Put a batch into SQL; its items are given by offset and length, or by their number."""
    places = [(line * 100, 100) for line in range(items)] if isinstance(items, int) else items
    begun = now()
    async with storage.write() as connection:
        await connection.execute(
            insert(batches).values(
                id=name,
                member_id=member,
                key_id=key,
                idempotency_key=idempotency_key,
                isolation=isolation,
                input_file_id=input_file,
                endpoint="/v1/chat/completions",
                model=model,
                completion_window="24h",
                status="in_progress",
                created_at=begun,
                in_progress_at=begun,
                expires_at=begun + timedelta(hours=hours),
                total=len(places),
                completed=0,
                failed=0,
                reserved=hold * len(places),
                input_tokens=0,
                output_tokens=0,
            )
        )
        await connection.execute(
            storage.insert_new(files).values(
                id=input_file,
                member_id=member,
                key_id=key,
                purpose="batch",
                filename="input.jsonl",
                bytes=0,
                status="processed",
                created_at=begun,
                place=input_file,
            )
        )
        rows = [
            {
                "batch_id": name,
                "line": line,
                "custom_id": f"c{line}",
                "offset": offset,
                "length": length,
                "hold": hold,
                "state": "queued",
                "attempts": 0,
                "epoch": 0,
            }
            for line, (offset, length) in enumerate(places, 1)
        ]
        for start in range(0, len(rows), 1000):
            await connection.execute(insert(batch_items), rows[start : start + 1000])


async def states(storage: Storage, name: str) -> dict[int, str]:
    """Tell the state of each line."""
    async with storage.read() as connection:
        rows = await connection.execute(
            select(batch_items.c.line, batch_items.c.state).where(batch_items.c.batch_id == name)
        )
        return {row.line: row.state for row in rows}


async def counts(storage: Storage, name: str) -> tuple[int, int, int]:
    """Tell how many items a batch has, how many were answered and how many failed."""
    columns = batches.c.total, batches.c.completed, batches.c.failed
    async with storage.read() as connection:
        rows = await connection.execute(select(*columns).where(batches.c.id == name))
        total, completed, failed = rows.one()
    return total, completed, failed
