"""The rules of the books, without a database."""

from datetime import timedelta

import pytest
from msgspec.structs import replace
from tests.parts.money import NOON, A, B, C, fee, grant, settlement, use

from garage_ai.ledger import FEE, ISSUANCE, InvalidTransfer, Lease, LeaseId, Overdraft
from garage_ai.ledger.books import Books, LeaseState, Position, Queued, digest_of, payers_of

LEASE = LeaseId("l1")


def books(amount: int = 100, leased: int = 40, state: LeaseState = "open") -> Books:
    """Give books with A locked, of whose amount a part is leased."""
    lease = Lease(LEASE, "g1", A, leased, 0, NOON, state)
    return Books({A: Position(amount, leased, 1)}, {LEASE: lease})


def test_a_settlement_comes_out_of_its_lease() -> None:
    """Amount and lease shrink by the same; payees' parts are queued."""
    held = books()
    assert held.settle(settlement(LEASE, use("u1", A, B, 30), fee("f1", A, 3))) == "entered"
    assert held.positions[A] == Position(67, 7, 3)
    assert held.leases[LEASE].rest == 7
    assert held.queued == {B: Queued(30, 1), FEE: Queued(3, 1)}


@pytest.mark.parametrize("state", ["closed", "expired"])
def test_a_lease_that_ended_settles_nothing(state: LeaseState) -> None:
    """What it had not spent is somebody else's by then."""
    held = books(state=state)
    before = dict(held.positions)
    assert held.settle(settlement(LEASE, use("u1", A, B, 30))) == "refused"
    assert (held.positions, held.entered, held.queued) == (before, {}, {})


def test_a_lease_settles_no_more_than_it_holds() -> None:
    """Nor one that is not there."""
    held = books()
    assert held.settle(settlement(LEASE, use("u1", A, B, 41))) == "refused"
    assert held.settle(settlement(LeaseId("l2"), use("u1", A, B, 1))) == "refused"
    assert held.settle(settlement(LEASE, use("u1", A, B, 40))) == "entered"
    assert held.settle(settlement(LEASE, use("u2", A, B, 1))) == "refused"


def test_a_settlement_settles_once() -> None:
    """Its ids tell, in the same transaction and from an earlier one."""
    held = books()
    asked = settlement(LEASE, use("u1", A, B, 10))
    assert [held.settle(asked), held.settle(asked)] == ["entered", "repeated"]
    later = books()
    later.known = {"u1": use("u1", A, B, 10)}
    assert later.settle(asked) == "repeated"


def test_nobody_pays_from_anothers_lease() -> None:
    """Neither by naming it nor by naming the payer."""
    held = Books({A: Position(9, 9), B: Position(9)}, books(leased=9).leases)
    for wrong in (use("u1", B, C, 1), use("u1", A, C, 1)):
        with pytest.raises(InvalidTransfer, match="not a lease"):
            held.settle(replace(settlement(LEASE, wrong), payer=B))


def test_whoever_uses_an_own_node_pays_itself() -> None:
    """Only the fee is gone; both sides count as entries."""
    held = books()
    held.settle(settlement(LEASE, use("u1", A, A, 30), fee("f1", A, 3)))
    assert held.positions[A] == Position(97, 7, 4)


def test_what_is_leased_cannot_be_given() -> None:
    """The error tells what was available, and nothing has changed."""
    held = books()
    with pytest.raises(Overdraft) as caught:
        held.post([use("u1", A, B, 10), use("u2", A, B, 51)])
    assert (caught.value.account, caught.value.available) == (A, 60)
    assert (held.positions[A], held.entered) == (Position(100, 40, 1), {})
    assert held.post([use("u1", A, B, 60)]) == 1


def test_issuance_is_never_locked() -> None:
    """It may owe, so that its part is queued like a payee's."""
    assert payers_of([grant("g1", A, 5), use("u1", C, A, 1), use("u2", B, A, 1)]) == [B, C]
    held = books()
    held.post([grant("g1", A, 5)])
    assert (held.queued, held.positions[A].amount) == ({ISSUANCE: Queued(-5, 1)}, 105)


def test_a_digest_covers_everything() -> None:
    """Whatever is changed in a transfer changes it; another zone for the same moment does not."""
    plain = use("u1", A, B, 10)
    changed = [
        replace(plain, id="u2"),
        replace(plain, debit=C),
        replace(plain, credit=C),
        replace(plain, amount=plain.amount + 1),
        replace(plain, at=NOON + timedelta(microseconds=1)),
        replace(plain, request_id=None),
        replace(plain, note=""),
        replace(plain, note="x"),
    ]
    assert len({digest_of(each) for each in (plain, *changed)}) == 1 + len(changed)
    from datetime import timezone

    elsewhere = NOON.astimezone(timezone(timedelta(hours=2)))
    assert digest_of(replace(plain, at=elsewhere)) == digest_of(plain)
