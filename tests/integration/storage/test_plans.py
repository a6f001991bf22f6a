"""Pages of long tables are found by an index, in its order: page a thousand costs as page one."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.parts.plans import plans_of

from garage_ai.ledger import Ledger
from garage_ai.ledger.models import member_account
from garage_ai.ledger.proxied.calls import ProxiedCalls
from garage_ai.ledger.reward_book import RewardBook
from garage_ai.storage import MemberId, Storage, usage_list
from garage_ai.storage.tables import CALLERS, litellm_mappings, members

pytestmark = pytest.mark.anyio

ANNA = MemberId("mbr_anna")


@pytest.mark.parametrize("before", [None, 7])
async def test_pages_of_a_members_usage(
    file_storage: Storage, sqlite_file: Path, before: int | None
) -> None:
    """Not all of the member's records are read and sorted for each of them."""
    with plans_of(file_storage, sqlite_file) as steps:
        await usage_list(file_storage, 100, before, member=ANNA)
    assert steps
    assert not [step for step in steps if "SCAN" in step or "TEMP B-TREE" in step]


async def test_batches_of_an_accounts_entries(file_storage: Storage, sqlite_file: Path) -> None:
    """Those that follow are not read with each batch."""
    with plans_of(file_storage, sqlite_file) as steps:
        assert [each async for each in Ledger(file_storage).entries(member_account(ANNA))] == []
    assert steps
    assert not [step for step in steps if "SCAN" in step or "TEMP B-TREE" in step]


async def test_turns_of_nodes(file_storage: Storage, sqlite_file: Path) -> None:
    """Every minute, from the index alone: stipends of years are not read for them."""
    with plans_of(file_storage, sqlite_file) as steps:
        assert await RewardBook(file_storage, Ledger(file_storage)).turns() == {}
    assert steps == ["SCAN rewards USING COVERING INDEX ix_rewards_turns"]


async def test_calls_of_a_member_behind_a_proxy(file_storage: Storage, sqlite_file: Path) -> None:
    """By whom they were passed on to and by each of its names, among millions of others'."""
    now = datetime.now(UTC)
    async with file_storage.write() as connection:
        await connection.execute(members.insert().values(id=ANNA, name="Anna", created_at=now))
        for kind in CALLERS:
            row = {"kind": kind, "value": "anna", "member_id": ANNA, "created_at": now}
            await connection.execute(litellm_mappings.insert().values(row))
    with plans_of(file_storage, sqlite_file) as steps:
        assert await ProxiedCalls(file_storage).of_member(ANNA, 0, 100) == []
    assert "MULTI-INDEX OR" in steps
    assert not [step for step in steps if step.startswith("SCAN litellm_calls")]
