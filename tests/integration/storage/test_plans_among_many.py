"""Among many rows, on either database, no more is read than what is asked for."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Table, insert, text
from tests.parts.plans import plans_of

from garage_ai.ledger import Ledger
from garage_ai.ledger.proxied import Booker
from garage_ai.storage import MemberId, Storage, sqlite_file
from garage_ai.storage.tables import (
    litellm_calls,
    litellm_mappings,
    members,
    usage,
)

pytestmark = pytest.mark.anyio

MANY = 10_000
NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
RECENTLY = NOON - timedelta(minutes=5)
ANNA, PROXY = MemberId("mbr_anna"), MemberId("mbr_proxy")

Plans = Callable[[], AbstractContextManager[list[str]]]


@pytest.fixture
def plans(storage: Storage, database: str) -> Plans:
    return lambda: plans_of(storage, sqlite_file(database) or database)


async def fill(
    storage: Storage, table: Table, row: Callable[[int], Mapping[str, object]], count: int = MANY
) -> None:
    """Write many rows, and let the server look at what it has, as it does by itself."""
    rows = [row(number) for number in range(1, count + 1)]
    async with storage.write() as connection:
        inserts = storage.new_rows(table, tuple(rows[0]))
        assert await inserts.add(connection, [tuple(each.values()) for each in rows]) == count
        await connection.execute(text(f"ANALYZE {table.name}"))


def moment(number: int) -> datetime:
    """Give the moment of a row: one each second, the last one at noon."""
    return NOON - timedelta(seconds=MANY - number)


def a_call(number: int) -> dict[str, object]:
    """Make a call; the last ones wait."""
    return {
        "call_id": f"c{number}",
        "request_id": f"req_of_{number}",
        "proxy_id": PROXY,
        "proxy_key_id": f"key_{number % 3}",
        "received_at": moment(number),
        "begun_at": moment(number),
        "model": "m",
        "route": "chat",
        "stream": True,
        "sent": True,
        "outcome": "ok",
        "key_alias": "anna",
        "state": "booked" if number <= MANY - 20 else "waiting",
    }


def a_record(number: int) -> dict[str, object]:
    """Make a request of the proxy's; those of the calls that wait are still to come."""
    return {
        "request_id": f"req_{number}",
        "at": moment(number),
        "member_id": PROXY,
        "key_id": f"key_{number % 3}",
        "route": "chat",
        "model": "m",
        "outcome": "ok",
        "stream": True,
        "content_events": 1,
        "bytes_out": 1,
        "duration_s": 1.0,
        "attempts": 1,
        "charge": 1,
        "caller_id": f"c{number - 20}" if number % 2 else None,
    }


async def test_usage_of_calls_that_wait(storage: Storage, plans: Plans) -> None:
    """By what the client calls the request or by its id: not all that the proxy ever used."""
    async with storage.write() as connection:
        row = {"id": ANNA, "name": "Anna", "created_at": NOON}
        await connection.execute(insert(members).values(row))
        mapping = {"kind": "alias", "value": "anna", "member_id": ANNA, "created_at": NOON}
        await connection.execute(insert(litellm_mappings).values(mapping))
    await fill(storage, litellm_calls, a_call)
    await fill(storage, usage, a_record)
    with plans() as steps:
        assert await Booker(storage, Ledger(storage)).book() == 0
    plan = "\n".join(steps)
    assert "Seq Scan on usage" not in plan
    assert "SCAN usage" not in plan
    assert "ix_usage_member_id_at" not in plan
    assert "ix_usage_caller_id" in plan
