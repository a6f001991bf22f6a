"""What nodes were seen to do is read from a day's usage, however much that is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.parts.money import NOON

from garage_ai.ledger.warmth import LOOK_SECONDS, served_for_others
from garage_ai.storage import Storage
from garage_ai.storage.database import TRANSACTION_SECONDS

pytestmark = pytest.mark.anyio


async def test_a_days_usage_may_take_longer_than_a_transaction(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a busy network had no stipends, and what is held back of its nodes stayed so."""
    read, asked = storage.read, list[float]()

    @asynccontextmanager
    async def noting(timeout: float = TRANSACTION_SECONDS) -> AsyncIterator[AsyncConnection]:
        asked.append(timeout)
        async with read(timeout) as connection:
            yield connection

    monkeypatch.setattr(storage, "read", noting)
    assert await served_for_others(storage, {"x": 1.0}, NOON - timedelta(days=1), NOON) == {}
    assert asked == [LOOK_SECONDS]
    assert LOOK_SECONDS > 10 * TRANSACTION_SECONDS
