"""Among many rows, on either database, no more is read than what is asked for."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Table, insert, text
from tests.parts.plans import plans_of

from garage_ai.audit.models import Action
from garage_ai.audit.service import AuditLog, Wanted
from garage_ai.audit.settings_log import note_settings
from garage_ai.ledger import POOL, FigureJudge, Kind, Ledger, escrow_account, member_account
from garage_ai.ledger.beside import Beside
from garage_ai.ledger.flags import Flags
from garage_ai.ledger.proof import Proofs
from garage_ai.ledger.proxied import Booker, ProxiedCalls, Reconciliation
from garage_ai.ledger.reward_book import RewardBook
from garage_ai.ledger.rewards import Rules
from garage_ai.storage import MemberId, Storage, sqlite_file
from garage_ai.storage.tables import (
    audit,
    litellm_calls,
    litellm_mappings,
    members,
    rewards,
    transfers,
    usage,
)
from garage_ai.wire.ids import NodeId

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


def an_act(number: int) -> dict[str, object]:
    """Make an entry of the log, few of them Anna's."""
    return {
        "seq": number,
        "at": moment(number),
        "action": Action.KEY_MADE,
        "actor": "key",
        "actor_id": "key_1",
        "actor_member": f"mbr_{number % 1000}",
        "subject": "s",
        "member": None,
        "details": "{}",
        "hash": b"",
    }


def a_reward(number: int) -> dict[str, object]:
    """Make an hour's stipend of one node among many."""
    return {
        "id": f"stipend/{number}",
        "period": "2027",
        "kind": Kind.STIPEND,
        "debit": POOL,
        "credit": member_account(MemberId(f"mbr_{number % 1000}")),
        "amount": 1,
        "decided_at": moment(number),
        "note": "",
        "posted_at": NOON if number < MANY else None,
    }


def a_transfer(number: int) -> dict[str, object]:
    """Make what is held back of one node among many."""
    return {
        "id": f"t{number}",
        "kind": Kind.USE,
        "debit": member_account(ANNA),
        "credit": escrow_account(NodeId(f"n{number % 200}")),
        "amount": 1,
        "at": moment(number),
        "digest": b"",
    }


def read_whole(steps: Sequence[str]) -> list[str]:
    """Give those steps that read a whole table."""
    assert steps
    return [
        step
        for step in steps
        if "Seq Scan" in step or (step.startswith("SCAN") and "SCAN anon_" not in step)
    ]


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


async def test_calls_and_requests_since_a_moment(storage: Storage, plans: Plans) -> None:
    """The calls and requests of all time before are not read, for no page."""
    await fill(storage, litellm_calls, a_call)
    await fill(storage, usage, a_record)
    calls = ProxiedCalls(storage)
    reconciliation = Reconciliation(storage, calls)
    with plans() as steps:
        assert len(await calls.page(RECENTLY, None, 0, 10)) == 10
        assert len(await calls.page(RECENTLY, None, MANY - 20, 10)) == 10
        assert len(await calls.page(RECENTLY, NOON, MANY - 20, 10)) == 10
        assert await calls.keys() == ["key_0", "key_1", "key_2"]
        await reconciliation._requests(RECENTLY, None, 0)
        await reconciliation._requests(RECENTLY, None, MANY - 20)
    assert read_whole(steps) == []
    assert not [step for step in steps if "TEMP B-TREE" in step]


async def test_rewards_that_are_not_posted(storage: Storage, plans: Plans) -> None:
    """Every minute, behind the stipends of years."""
    await fill(storage, rewards, a_reward)
    with plans() as steps:
        assert await RewardBook(storage, Ledger(storage)).post(NOON) == 0
    mine = [step for step in steps if "rewards" in step]
    assert mine
    assert all("ix_rewards_unposted" in step for step in mine)


async def test_rewards_of_an_account(storage: Storage, plans: Plans) -> None:
    """Those of all others, and all that the pool paid, are not read for them."""
    await fill(storage, rewards, a_reward)
    with plans() as steps:
        account = member_account(MemberId("mbr_7"))
        assert len(await Beside(storage).rewards(account, "", 6)) == 6
    assert read_whole(steps) == []
    assert "ix_rewards_credit_id" in "\n".join(steps)


async def test_what_was_held_back_of_a_node(storage: Storage, plans: Plans) -> None:
    """Not what was held back of all."""
    await fill(storage, transfers, a_transfer)
    proofs = Proofs(storage, Rules())
    newest = await proofs.newest()
    with plans() as steps:
        owner, since = MemberId("mbr_owner"), NOON - timedelta(days=9)
        assert not await proofs.has_proved(NodeId("n7"), owner, since, NOON, newest)
    assert read_whole(steps) == []
    assert "ix_transfers_credit_seq" in "\n".join(steps)


async def test_acts_of_one_kind_and_of_one_member(storage: Storage, plans: Plans) -> None:
    """Flags every minute, settings at each start, and what a member takes along."""
    await fill(storage, audit, an_act)
    log = AuditLog(storage)
    flags = Flags(storage, FigureJudge(), "g1", lambda: NOON)
    with plans() as steps:
        for _ in range(2):
            await flags.refresh()
        assert await note_settings(log, {}, {}) is None
        assert len(await log.following(0, 100, Wanted(member="mbr_7"))) == 10
    assert read_whole(steps) == []
