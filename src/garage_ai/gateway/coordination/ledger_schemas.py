"""What `/api/v1/ledger` takes and gives; amounts are in nGAI, as text."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field

from garage_ai.gateway.coordination.schemas import Asked, Given, Nano
from garage_ai.ledger import Balance, Statement, Transfer, Verification, in_gai

Account = Annotated[str, Field(min_length=1, max_length=80, examples=["member:mbr_operator"])]


class BalanceGiven(Given):
    account: str
    amount: Nano
    reserved: Nano = Field(description="Promised to requests that may still run.")
    available: Nano
    available_gai: str = Field(examples=["1.500000000"])

    @classmethod
    def of(cls, balance: Balance) -> Self:
        """Show a balance."""
        return cls(
            account=balance.account,
            amount=str(balance.amount),
            reserved=str(balance.reserved),
            available=str(balance.available),
            available_gai=in_gai(balance.available),
        )


class TransferGiven(Given):
    id: str
    kind: str
    debit: str
    credit: str
    amount: Nano
    at: datetime
    request_id: str | None
    note: str | None

    @classmethod
    def of(cls, transfer: Transfer) -> Self:
        """Show a transfer."""
        return cls.model_validate(transfer, from_attributes=True)


class StatementGiven(Given):
    account: str
    transfers: list[TransferGiven] = Field(description="Newest first.")
    before: int | None = Field(description="Ask with it for older ones; null at the end.")

    @classmethod
    def of(cls, statement: Statement) -> Self:
        """Show a page of a statement."""
        return cls(
            account=statement.account,
            transfers=[TransferGiven.of(each) for each in statement.transfers],
            before=statement.before,
        )


class FindingGiven(Given):
    row: str
    what: str


class VerificationGiven(Given):
    sound: bool
    transfers: int
    accounts: int
    queued: int = Field(description="Entries not yet added to balances.")
    open_leases: int
    unaccounted_leases: int = Field(description="Leases whose gateways were gone.")
    unaccounted: Nano = Field(description="Bound of what those may have served without a bill.")
    adjustments: int = Field(description="How many there are, all with a reason.")
    adjusted: Nano = Field(description="What they made, less what they took.")
    faults: int
    findings: list[FindingGiven] = Field(description="The first of the faults.")

    @classmethod
    def of(cls, seen: Verification) -> Self:
        """Show what was found."""
        return cls.model_validate(seen, from_attributes=True)


class AdjustmentAsked(Asked):
    account: Account
    amount: Annotated[
        str,
        Field(
            pattern=r"^-?[1-9][0-9]{0,17}$",
            description="nGAI for the account; below zero to take from it.",
            examples=["-1500000000"],
        ),
    ]
    reason: Annotated[str, Field(min_length=1, max_length=500)]


ExportAsked = Literal["beancount", "csv", "json"]


__all__ = [
    "Account",
    "AdjustmentAsked",
    "BalanceGiven",
    "ExportAsked",
    "StatementGiven",
    "TransferGiven",
    "VerificationGiven",
]
