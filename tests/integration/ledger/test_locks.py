"""Accounts are locked by many at once, and made by whoever is the first to need them."""

import asyncio
import random

import pytest

from garage_ai.ledger.models import AccountId
from garage_ai.ledger.pages import lock
from garage_ai.storage import Storage

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
