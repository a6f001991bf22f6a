"""A month's first requests: grants are given to many at once, and who has one waits for nobody."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert
from tests.parts.money import ANNA, BERT, A

from garage_ai.ledger import Allowances, Grants, Leases, Ledger, NanoGai, Transfer
from garage_ai.ledger.rewards import Rules
from garage_ai.ledger.rounds import PAYERS
from garage_ai.storage import DatabaseUnreachable, MemberId, Storage
from garage_ai.storage.tables import members

pytestmark = pytest.mark.anyio


class Door:
    """A ledger that enters grants once its door is open, and counts how often it was asked to."""

    def __init__(self, ledger: Ledger) -> None:
        self.balance = ledger.balance
        self._ledger = ledger
        self.opened = asyncio.Event()
        self.opened.set()
        self.knocked = asyncio.Event()
        self.calls = 0

    async def post(self, transfers: Sequence[Transfer]) -> int:
        self.calls += 1
        self.knocked.set()
        await self.opened.wait()
        return await self._ledger.post(transfers)


@pytest.fixture
def door(ledger: Ledger) -> Door:
    return Door(ledger)


@asynccontextmanager
async def opened(
    storage: Storage, door: Door, some: Sequence[MemberId]
) -> AsyncIterator[Allowances]:
    """Open allowances for members who joined long ago and had no grant yet."""
    rows = [
        {"id": each, "name": each, "created_at": datetime(2026, 1, 1, tzinfo=UTC)} for each in some
    ]
    async with storage.write() as connection:
        await connection.execute(insert(members), rows)
    allowances = Allowances.start(Leases(storage, "g1"), grants=Grants(storage, door, Rules()))
    try:
        yield allowances
    finally:
        await allowances.close()


async def test_many_first_comers_have_their_grants_together(storage: Storage, door: Door) -> None:
    """More than are served in one round; none is refused."""
    some = [MemberId(f"mbr_{number}") for number in range(PAYERS + 50)]
    async with opened(storage, door, some) as allowances:
        held = await asyncio.gather(*(allowances.reserve(each, NanoGai(1000)) for each in some))
        assert door.calls <= 3
        assert {allowances.balance(each) for each in some} == {Rules().grant}
        for each in held:
            each.void()


async def test_who_has_a_grant_does_not_wait_for_those_of_others(
    storage: Storage, ledger: Ledger, door: Door
) -> None:
    """Also where it needs a lease; the others are served when they have theirs."""
    async with opened(storage, door, [ANNA, BERT]) as allowances:
        (await allowances.reserve(ANNA, NanoGai(1))).void()
        door.opened.clear()
        door.knocked.clear()
        waiting = asyncio.create_task(allowances.reserve(BERT, NanoGai(1)))
        await door.knocked.wait()
        more = NanoGai((await ledger.balance(A)).reserved + 1)
        (await allowances.reserve(ANNA, more)).void()
        assert not waiting.done()
        door.opened.set()
        (await waiting).void()


async def test_who_cannot_be_given_a_grant_is_told(
    storage: Storage, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And has it with the next request, once that can be."""

    async def away(*_: object) -> int:
        raise DatabaseUnreachable("away")

    async with opened(storage, door, [ANNA]) as allowances:
        with monkeypatch.context() as patched:
            patched.setattr(door, "post", away)
            with pytest.raises(DatabaseUnreachable):
                await allowances.reserve(ANNA, NanoGai(1))
        (await allowances.reserve(ANNA, NanoGai(1))).void()
        assert allowances.balance(ANNA) == Rules().grant
