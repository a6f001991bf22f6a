"""Leases that ran out because the database was away, and not their workers."""

import time
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update
from tests.integration.batch.world import World
from tests.integration.network.conftest import until
from tests.parts.batches import states

from garage_ai.batch.worker import worker as worker_module
from garage_ai.batch.worker.items import Items, Lost, Queue
from garage_ai.storage.errors import DatabaseUnreachable
from garage_ai.storage.tables import batch_items

pytestmark = pytest.mark.anyio

SECONDS = 2.0


class Switch:
    """Lets a worker reach the database, or not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.away = False
        waiting, sweep = Items.waiting, Items.sweep

        async def waits(items: Items, paused: Collection[str] = ()) -> list[Queue]:
            self.look()
            return await waiting(items, paused)

        async def sweeps(items: Items) -> list[Lost]:
            self.look()
            return await sweep(items)

        monkeypatch.setattr(Items, "waiting", waits)
        monkeypatch.setattr(Items, "sweep", sweeps)

    def look(self) -> None:
        """Say that nobody is there. Raises: DatabaseUnreachable."""
        if self.away:
            raise DatabaseUnreachable("away")


async def run_out(world: World) -> None:
    """Let all leases be over for long."""
    async with world.storage.write() as connection:
        then = datetime.now(UTC) - timedelta(hours=1)
        await connection.execute(update(batch_items).values(lease_until=then))


async def test_who_could_not_renew_is_not_taken_for_dead(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who hears the database first leaves all others the time of a lease, and no more than that."""
    monkeypatch.setattr(worker_module, "AWAY_SECONDS", 0.1)
    database, rounds = Switch(monkeypatch), 0

    def counted() -> None:
        nonlocal rounds
        rounds += not database.away

    await world.submit("batch_1", ["hej"])
    holder = Items(world.storage, world.ledger, "w1", seconds=SECONDS)
    [item] = await holder.claim({"batch_1": 1})
    other = world.work("w2", seconds=SECONDS)
    database.away = True
    monkeypatch.setattr(other, "look", counted)
    await run_out(world)
    await until(lambda: time.time() - other._heard_at > SECONDS / 2)
    database.away = False
    await until(lambda: rounds > 0)
    assert await holder.renew([item]) == []
    await run_out(world)
    await world.leased("batch_1", 0)
    assert await states(world.storage, "batch_1") == {1: "queued"}
