"""What settlements add up to is what the books make of them one by one."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garage_ai.ledger.books import Books, Lease, LeaseId, Position, Settlement, Sums
from garage_ai.ledger.errors import InvalidTransfer, TransferConflict
from garage_ai.ledger.models import FEE, POOL, AccountId, Kind, NanoGai, Transfer

NOW = datetime(2026, 12, 1, tzinfo=UTC)
PAYERS = [AccountId(f"member:m{number}") for number in range(3)]
LEASES = {LeaseId(f"l{number}"): PAYERS[number // 2] for number in range(6)}
WAYS = [(Kind.USE, each) for each in [*PAYERS, AccountId("member:m9")]]
WAYS += [(Kind.FEE, FEE), (Kind.UNMETERED, POOL)]

SPENT = st.lists(
    st.tuples(
        st.sampled_from(sorted(LEASES)),
        st.lists(st.tuples(st.sampled_from(WAYS), st.integers(1, 1000)), max_size=4),
    ),
    max_size=12,
)


def settlements_of(
    spent: list[tuple[LeaseId, list[tuple[tuple[Kind, AccountId], int]]]],
) -> list[Settlement]:
    """Make the settlements, each of whose transfers has an id of its own."""
    return [
        Settlement(
            lease,
            LEASES[lease],
            tuple(
                Transfer(f"t{place}.{n}", kind, LEASES[lease], to, NanoGai(amount), NOW)
                for n, ((kind, to), amount) in enumerate(transfers)
            ),
        )
        for place, (lease, transfers) in enumerate(spent)
    ]


@given(SPENT)
def test_they_are_what_the_books_add(
    spent: list[tuple[LeaseId, list[tuple[tuple[Kind, AccountId], int]]]],
) -> None:
    """In any order, over several leases, also where payers pay each other and themselves."""
    settlements = settlements_of(spent)
    sums = Sums.of(settlements)
    books = Books(
        {each.payer: Position() for each in settlements},
        {name: Lease(name, "g", payer, 10**9, 0, NOW) for name, payer in LEASES.items()},
    )
    for each in settlements:
        books.settle(each)
    assert books.entered == sums.entered
    assert books.queued == sums.queued
    added = {
        payer: Position(to.amount, -paid, to.entries) for payer, (paid, to) in sums.paid.items()
    }
    assert books.positions == added
    settled = {(each.id, each.payer): each.settled for each in books.leases.values()}
    assert {key: amount for key, amount in settled.items() if key in sums.spent} == sums.spent
    assert not any(amount for key, amount in settled.items() if key not in sums.spent)


def test_one_that_comes_twice_or_of_another_is_left_to_who_reads_first() -> None:
    """Neither is for rows that nobody has read."""
    one = settlements_of([(LeaseId("l0"), [(WAYS[0], 5)])])[0]
    with pytest.raises(TransferConflict):
        Sums.of([one, one, Settlement(LeaseId("l1"), one.payer, (one.transfers[0],))])
    with pytest.raises(InvalidTransfer):
        Sums.of([Settlement(LeaseId("l2"), PAYERS[1], one.transfers)])
