"""The last moments of keys and nodes: written together, soon, and never back in time."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select

from garage_ai.storage import KeyId, LastSeen, Storage
from garage_ai.storage.tables import keys, nodes

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
PATIENCE = 30.0


async def moment(storage: Storage, table: str, row: str) -> datetime | None:
    column = keys.c.last_used_at if table == "keys" else nodes.c.last_seen_at
    async with storage.read() as connection:
        found: datetime | None = await connection.scalar(
            select(column).where(column.table.c.id == row)
        )
        return found


async def with_a_key_and_a_node(storage: Storage) -> None:
    async with storage.write() as connection:
        owned = {"member_id": "mbr_operator", "name": "x", "created_at": NOON}
        await connection.execute(
            insert(keys).values(id="key_a", digest=b"a" * 32, scopes="inference", **owned)
        )
        await connection.execute(
            insert(nodes).values(id="na", public_key="U", trust="unverified", **owned)
        )


async def test_a_node_that_goes_on_beating_is_noted_now_and_then(storage: Storage) -> None:
    """Else thousands of nodes would cost a write each, every five seconds."""
    await with_a_key_and_a_node(storage)
    seen = LastSeen(storage, draw=lambda: 0.5)
    for after in range(0, 60, 5):
        seen.node("na", NOON + timedelta(seconds=after))
    await seen._write()
    assert await moment(storage, "nodes", "na") == NOON
    seen.node("na", NOON + timedelta(seconds=60))
    await seen._write()
    assert await moment(storage, "nodes", "na") == NOON + timedelta(seconds=60)


async def test_last_moments_are_written_together(storage: Storage) -> None:
    """Uses of a key and signs of a node cost one write a second, and never go back in time."""
    await with_a_key_and_a_node(storage)
    seen = LastSeen.start(storage)
    for minutes in (1, 2, 3):
        seen.key(KeyId("key_a"), NOON + timedelta(minutes=minutes))
        seen.node("na", NOON + timedelta(minutes=minutes))
    async with asyncio.timeout(PATIENCE):
        while await moment(storage, "nodes", "na") is None:  # noqa: ASYNC110 - a database's row
            await asyncio.sleep(0.05)
    assert await moment(storage, "keys", "key_a") == NOON + timedelta(minutes=3)
    seen.key(KeyId("key_a"), NOON)
    seen.key(KeyId("key_unknown"), NOON)
    await seen.close()
    assert await moment(storage, "keys", "key_a") == NOON + timedelta(minutes=3)
