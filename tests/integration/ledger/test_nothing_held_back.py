"""A network whose administrator decides that nothing is held back of new nodes any more."""

from datetime import UTC, datetime

import pytest
from tests.integration.ledger.test_rewards import LENDER, NODE, add_member, add_node
from tests.parts.money import A, grant

from garage_ai.ledger import Kind, Ledger, NanoGai, Transfer, escrow_account, member_account
from garage_ai.ledger.reward_jobs import RewardJobs
from garage_ai.ledger.rewards import Rules
from garage_ai.storage import Storage

pytestmark = pytest.mark.anyio

NOW = datetime(2027, 3, 1, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(("permille", "paid"), [(500, 0), (0, 70)])
async def test_what_was_held_back_before_is_paid_out(
    ledger: Ledger, storage: Storage, permille: int, paid: int
) -> None:
    """A node with one payer never proves itself; where nothing need be proved, it is not to."""
    await add_member(storage, LENDER)
    await add_node(storage)
    await ledger.post([grant("g1", A, 100)])
    held_back = escrow_account(NODE)
    await ledger.post([Transfer("u1", Kind.USE, A, held_back, NanoGai(70), NOW)])
    jobs = RewardJobs(storage, ledger, Rules(escrow=permille), {})
    await jobs.run_once(NOW)
    owned = [(await ledger.balance(each)).amount for each in (member_account(LENDER), held_back)]
    assert owned == [paid, 70 - paid]
