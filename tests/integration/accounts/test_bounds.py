"""A member makes only so many keys and tokens; the operator as many as it likes."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from garage_ai.accounts import EnrolmentTokens, KeyRing, Members
from garage_ai.accounts.errors import TooManyMade
from garage_ai.storage import OPERATOR, MemberId, Storage

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("what", ["keys", "tokens"])
async def test_a_member_has_only_so_many(
    storage: Storage, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Revoking makes room the day after, the same call again needs none, others are not bound."""
    monkeypatch.setattr("garage_ai.accounts.bounds.MOST", 2)
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    ring, tokens = (
        await KeyRing.open(storage, clock=lambda: now),
        EnrolmentTokens(storage, lambda: now),
    )
    anna, bo = [(await Members(storage).add(name)).id for name in ("Anna", "Bo")]

    async def make(member: MemberId, call: str) -> Callable[[], Awaitable[object]]:
        if what == "keys":
            key = (await ring.create("pc", member, idempotency_key=call)).key.id
            return lambda: ring.revoke(key)
        life = timedelta(days=30)
        token = (await tokens.create(member, ttl=life, idempotency_key=call)).token.id
        return lambda: tokens.revoke(token)

    revoke = await make(anna, "1")
    await make(anna, "2")
    await make(anna, "2")
    with pytest.raises(TooManyMade):
        await make(anna, "3")
    await revoke()
    with pytest.raises(TooManyMade):
        await make(anna, "3")
    now += timedelta(days=1, seconds=1)
    await make(anna, "3")
    with pytest.raises(TooManyMade):
        await make(anna, "4")
    await make(bo, "1")
    for call in ("1", "2", "3"):
        await make(OPERATOR, call)
    await ring.close()
