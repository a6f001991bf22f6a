"""What a transfer may be."""

from datetime import datetime
from itertools import product

import pytest
from msgspec.structs import replace
from tests.parts.money import A, B, fee, grant, use

from garage_ai.ledger import (
    ADJUSTMENTS,
    FEE,
    ISSUANCE,
    POOL,
    AccountId,
    InvalidTransfer,
    Kind,
    NanoGai,
    Transfer,
    class_of,
    escrow_account,
)
from garage_ai.ledger.rules import MAX_AMOUNT, check_transfer, may_go_below_zero
from garage_ai.wire.ids import NodeId

ESCROW = escrow_account(NodeId("nabc"))
ACCOUNTS = (A, B, ESCROW, POOL, FEE, ISSUANCE, ADJUSTMENTS)

ALLOWED = {
    Kind.GRANT: {(ISSUANCE, A), (ISSUANCE, B)},
    Kind.MINT: {(ISSUANCE, POOL)},
    Kind.STIPEND: {(POOL, A), (POOL, B), (POOL, ESCROW)},
    Kind.USE: {(A, B), (B, A), (A, A), (B, B), (A, ESCROW), (B, ESCROW)},
    Kind.FEE: {(A, FEE), (B, FEE)},
    Kind.UNMETERED: {(A, POOL), (B, POOL)},
    Kind.RELEASE: {(ESCROW, A), (ESCROW, B)},
    Kind.FORFEIT: {(ESCROW, POOL)},
    Kind.PASSED_ON: {(A, B), (B, A)},
    Kind.ADJUSTMENT: {(each, ADJUSTMENTS) for each in ACCOUNTS if each != ADJUSTMENTS}
    | {(ADJUSTMENTS, each) for each in ACCOUNTS if each != ADJUSTMENTS},
}


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_goes_its_ways_alone(kind: Kind) -> None:
    """Of all pairs of accounts only those that the kind is for."""
    found = set()
    for debit, credit in product(ACCOUNTS, repeat=2):
        asked = replace(use("t", A, B, 1), kind=kind, debit=debit, credit=credit, note="why")
        try:
            check_transfer(asked)
        except InvalidTransfer:
            continue
        found.add((debit, credit))
    assert found == ALLOWED[kind]


@pytest.mark.parametrize(
    "name",
    ["", "member", "member:", "escrow", "issuance:x", "treasury", "pool:", "member:" + "x" * 80],
)
def test_no_other_accounts_are_there(name: str) -> None:
    """Single ones have no owner, others have one."""
    with pytest.raises(InvalidTransfer, match="no account"):
        class_of(AccountId(name))


def test_only_two_accounts_may_owe() -> None:
    """Where GAI come from, and the other side of repairs."""
    assert {each for each in ACCOUNTS if may_go_below_zero(each)} == {ISSUANCE, ADJUSTMENTS}


WRONG: list[tuple[Transfer, str]] = [
    (grant("t", A, 0), "amount"),
    (grant("t", A, -1), "amount"),
    (grant("t", A, MAX_AMOUNT + 1), "amount"),
    (grant("", A, 1), "id"),
    (grant("x" * 201, A, 1), "id"),
    (grant("a b", A, 1), "id"),
    (grant("a\nb", A, 1), "id"),
    (replace(fee("t", A, 1), request_id="r" * 65), "request"),
    (replace(fee("t", A, 1), note="n" * 501), "note"),
    (replace(fee("t", A, 1), note="a\0b"), "note"),
    (replace(fee("t", A, 1), at=datetime(2026, 1, 1)), "zone"),  # noqa: DTZ001
    (replace(fee("t", A, 1), kind=Kind.ADJUSTMENT, credit=ADJUSTMENTS), "why"),
    (replace(fee("t", A, 1), kind=Kind.ADJUSTMENT, credit=ADJUSTMENTS, note="  "), "why"),
]


@pytest.mark.parametrize(("transfer", "says"), WRONG)
def test_what_no_row_can_hold_is_refused(transfer: Transfer, says: str) -> None:
    """Before anything is written, with a word of what is wrong."""
    with pytest.raises(InvalidTransfer, match=says):
        check_transfer(transfer)


def test_the_largest_amount_is_one() -> None:
    """And so is the smallest."""
    for amount in (1, MAX_AMOUNT):
        check_transfer(replace(grant("t", A, 1), amount=NanoGai(amount)))
