"""What a member's clients called requests that were under way when it was erased."""

import asyncio
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace
from sqlalchemy import select
from tests.integration.ledger.test_usage_writer import record

from garage_ai.accounts import Members
from garage_ai.ledger import Leases, Ledger, Projector, Receipt, UsageWriter
from garage_ai.storage import MemberId, Storage, UsageRecord
from garage_ai.storage.tables import usage

pytestmark = pytest.mark.anyio


def named(number: int, member: MemberId, words: str) -> UsageRecord:
    return replace(record(number), at=datetime.now(UTC), member=member, caller_id=words)


async def words_of(storage: Storage) -> dict[str, str | None]:
    async with storage.read() as connection:
        rows = await connection.execute(select(usage.c.member_id, usage.c.caller_id))
        return {row.member_id: row.caller_id for row in rows}


async def test_what_ends_after_its_member_was_erased_keeps_no_words(storage: Storage) -> None:
    """The record stays, what the client called the request goes; that of others stays too."""
    members, writer = Members(storage), UsageWriter.start(Ledger(storage))
    anna, bo = await members.add("Anna"), await members.add("Bo")
    under_way = named(1, anna.id, "Annas letter to the bank")
    await members.erase(anna.id, "Anna")
    writer.put(Receipt(under_way))
    writer.put(Receipt(named(2, bo.id, "Bos letter")))
    await writer.close()
    assert await words_of(storage) == {anna.id: "Annas letter to the bank", bo.id: "Bos letter"}
    projector = Projector.start(storage, Leases(storage, "g1"))
    async with asyncio.timeout(20):
        while (await words_of(storage))[anna.id] is not None:
            pass
    await projector.close()
    assert await words_of(storage) == {anna.id: None, bo.id: "Bos letter"}
