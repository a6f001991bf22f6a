"""Transfers and members for tests of the ledger."""

from datetime import UTC, datetime

from garage_ai.ledger import (
    FEE,
    ISSUANCE,
    AccountId,
    Kind,
    NanoGai,
    Receipt,
    Settlement,
    Transfer,
    member_account,
)
from garage_ai.ledger.books import LeaseId
from garage_ai.storage import KeyId, MemberId, UsageRecord

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ANNA, BERT, CILLA = MemberId("mbr_anna"), MemberId("mbr_bert"), MemberId("mbr_cilla")
A, B, C = map(member_account, (ANNA, BERT, CILLA))


def grant(name: str, account: AccountId, amount: int) -> Transfer:
    """Make a free share for a member."""
    return Transfer(name, Kind.GRANT, ISSUANCE, account, NanoGai(amount), NOON)


def use(name: str, debit: AccountId, credit: AccountId, amount: int) -> Transfer:
    """Make what a request costs; the request's id is the transfer's."""
    return Transfer(name, Kind.USE, debit, credit, NanoGai(amount), NOON, name[:64])


def fee(name: str, debit: AccountId, amount: int, request: str | None = None) -> Transfer:
    """Make the network's share of what a request costs; its id is the transfer's if not given."""
    return Transfer(name, Kind.FEE, debit, FEE, NanoGai(amount), NOON, request or name[:64])


def settlement(lease: LeaseId, *transfers: Transfer) -> Settlement:
    """Make the end of a request of the first transfer's payer."""
    return Settlement(lease, transfers[0].debit, transfers)


def record(request: str, member: MemberId = ANNA, charge: int | None = None) -> UsageRecord:
    """Make the usage record of a request."""
    return UsageRecord(
        request_id=request,
        at=NOON,
        member=member,
        key_id=KeyId("key_a"),
        route="chat",
        model="small",
        digest=None,
        node=None,
        outcome="ok",
        stream=False,
        prompt_tokens=None,
        completion_tokens=None,
        content_events=1,
        bytes_out=30,
        ttft_s=None,
        duration_s=0.1,
        attempts=1,
        charge=charge,
    )


def receipt(settled: Settlement) -> Receipt:
    """Make what goes into the books of a request that is settled."""
    request = settled.transfers[0].request_id
    assert request is not None
    return Receipt(record(request, charge=settled.total), settled)
