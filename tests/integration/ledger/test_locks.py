"""Rows of the books are locked by many at once, in one order and in no other."""

import asyncio
import random
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.parts.locks import until_somebody_waits

from garage_ai.audit.models import COMMAND_LINE
from garage_ai.ledger import ISSUANCE, POOL, Kind, Ledger, NanoGai
from garage_ai.ledger.models import AccountId
from garage_ai.ledger.pages import lock
from garage_ai.ledger.reward_book import Reward, RewardBook
from garage_ai.ledger.verification import rebuild
from garage_ai.storage import Storage
from garage_ai.storage.tables import balances, rewards

pytestmark = pytest.mark.anyio


async def test_nobody_waits_for_each_other_where_accounts_are_new(storage: Storage) -> None:
    """Neither who locks first and finds one missing, nor who has made one, holds the others up."""
    chance = random.Random(7)
    for step in range(60):
        names = [AccountId(f"member:m{step}-{number}") for number in range(12)]
        asked = [sorted(chance.sample(names, 9)) for _ in range(8)]
        assert await asyncio.gather(*(_lock(storage, some) for some in asked)) == asked


async def _lock(storage: Storage, accounts: list[AccountId]) -> list[AccountId]:
    async with storage.write() as connection:
        return sorted(await lock(storage, connection, accounts))


async def test_balances_are_made_again_beside_gateways(storage: Storage) -> None:
    """However many accounts there are, they are locked in the order of the server's alphabet."""
    # Python's alphabet has all large letters first, the server's has each beside its small one.
    names = [f"member:{letter}{number}" for letter in "aB" for number in range(100, 400)]
    async with storage.write() as connection:
        await connection.execute(insert(balances), [_empty(name) for name in names])
    async with storage.write() as connection:
        await _hold(connection, "member:a399")
        rebuilding = asyncio.create_task(rebuild(storage, by=COMMAND_LINE))
        await until_somebody_waits(connection)
        await _hold(connection, "member:B100")
    assert await rebuilding == []


async def test_two_who_note_what_is_posted_do_not_wait_for_each_other(storage: Storage) -> None:
    """They note it in the order of its ids, whatever way the server would take."""
    now, names = datetime.now(UTC), ("r2", "r1")
    book = RewardBook(storage, Ledger(storage))
    given = [Reward(name, "2027-03", Kind.MINT, ISSUANCE, POOL, NanoGai(1)) for name in names]
    await book.decide(given, now)
    async with storage.write() as connection:
        for name in sorted(names):
            row = select(rewards.c.id).where(rewards.c.id == name)
            await connection.execute(row.with_for_update())
            if name == "r1":
                posting = asyncio.create_task(book.post(now, names))
                await until_somebody_waits(connection)
    assert await posting == 2
    assert await book.post(now) == 0


def _empty(name: str) -> dict[str, object]:
    return {"account": name, "amount": 0, "leased": 0, "entries": 0}


async def _hold(connection: AsyncConnection, name: str) -> None:
    row = select(balances.c.account).where(balances.c.account == name)
    await connection.execute(row.with_for_update())
