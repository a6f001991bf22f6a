"""A worker that is played: it writes results as a real one does, with the counts of the batch."""

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.batch import BatchId
from garage_ai.batch.results import answered
from garage_ai.storage import Storage
from garage_ai.storage.tables import batch_items, batches

ANSWER = b'{"object":"chat.completion","choices":[]}'
REFUSAL = b'{"error":{"message":"no","type":"x","param":null,"code":"engine_rejected"}}'


async def work(storage: Storage, batch: str, *, fails: frozenset[int] = frozenset()) -> int:
    """Answer every item that is queued, those of the lines `fails` with a failure."""
    queued = select(batch_items).where(
        batch_items.c.batch_id == batch, batch_items.c.state == "queued"
    )
    async with storage.read() as connection:
        items = (await connection.execute(queued.order_by(batch_items.c.line))).all()
    for start in range(0, len(items), 100):  # a transaction may take seconds, not more
        async with storage.write() as connection:
            for item in items[start : start + 100]:
                done = item.line not in fails
                await _finish(connection, batch, item.line, item.custom_id, done=done)
    return len(items)


async def finish(
    storage: Storage, batch: str, line: int, custom_id: str, *, done: bool = True
) -> bool:
    """Write one result; False where the batch takes no more."""
    async with storage.write() as connection:
        return await _finish(connection, batch, line, custom_id, done=done)


async def _finish(
    connection: AsyncConnection, batch: str, line: int, custom_id: str, *, done: bool
) -> bool:
    status, body = (200, ANSWER) if done else (400, REFUSAL)
    result = answered(
        BatchId(batch), line, custom_id, status=status, request_id=f"req_{line}", body=body
    )
    counted = batches.c.completed if done else batches.c.failed
    open_batch = (batches.c.id == batch) & batches.c.finalizing_at.is_(None)
    counts = update(batches).where(open_batch).values({counted.name: counted + 1})
    if not (await connection.execute(counts)).rowcount:
        return False
    own = (batch_items.c.batch_id == batch) & (batch_items.c.line == line)
    ended = update(batch_items).where(own).values(state="done" if done else "failed")
    await connection.execute(ended.values(result=result))
    return True
