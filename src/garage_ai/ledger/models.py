"""What the ledger is made of: amounts, accounts and transfers between them."""

from datetime import datetime
from enum import StrEnum
from typing import Final, NewType

import msgspec

from garage_ai.storage import MemberId
from garage_ai.wire.ids import NodeId

NanoGai = NewType("NanoGai", int)
"""An amount in 10⁻⁹ GAI, always whole; a string in JSON, whose numbers end at 2⁵³."""

GAI: Final = NanoGai(1_000_000_000)
"""One hour of the reference card, a GeForce RTX 3090 24 GB."""

AccountId = NewType("AccountId", str)

ISSUANCE: Final = AccountId("issuance")
"""Where GAI come from; as far below zero as were granted and minted."""
POOL: Final = AccountId("pool")
"""What belongs to the community."""
FEE: Final = AccountId("fee")
"""What the network keeps of each charge."""
ADJUSTMENTS: Final = AccountId("adjustments")
"""The other side of entries that put earlier ones right: below zero by what they made in all."""


def in_gai(amount: int) -> str:
    """Write an amount of nGAI in GAI, with all nine places and nothing rounded."""
    whole, places = divmod(abs(amount), GAI)
    return f"{'-' if amount < 0 else ''}{whole}.{places:09}"


def member_account(member: MemberId) -> AccountId:
    """Name the account of a member."""
    return AccountId(f"member:{member}")


def member_of(account: AccountId) -> MemberId | None:
    """Tell whose account it is; None for one that belongs to no member."""
    kind, _, owner = account.partition(":")
    return MemberId(owner) if kind == "member" and owner else None


def escrow_account(node: NodeId) -> AccountId:
    """Name the account that holds back what a new node earned."""
    return AccountId(f"escrow:{node}")


def node_of(account: AccountId) -> NodeId | None:
    """Tell of which node something is held back in an account; None for any other account."""
    kind, _, node = account.partition(":")
    return NodeId(node) if kind == "escrow" and node else None


class Kind(StrEnum):
    """Why something is transferred."""

    GRANT = "grant"  # issuance → member: the free share of a month
    MINT = "mint"  # issuance → pool: what stipends are paid from
    STIPEND = "stipend"  # pool → member or escrow: a node was there, warm and verified
    USE = "use"  # payer → member or escrow: a node answered
    FEE = "fee"  # payer → fee: the network's share of that
    UNMETERED = "unmetered"  # payer → pool: nobody could count what the node wrote
    RELEASE = "release"  # escrow → member: the node has proved itself
    FORFEIT = "forfeit"  # escrow → pool: it did not
    PASSED_ON = "passed_on"  # member → member: a proxy in front served on another's behalf
    ADJUSTMENT = "adjustment"  # any ↔ adjustments: a correction, with its reason


class Transfer(msgspec.Struct, frozen=True):
    """An amount that went from one account to another, for good.

    `id` is made by who asks for it and is the idempotency key. `amount` is above zero.
    `request_id` names the request that it pays for.
    """

    id: str
    kind: Kind
    debit: AccountId
    credit: AccountId
    amount: NanoGai
    at: datetime
    request_id: str | None = None
    note: str | None = None


__all__ = [
    "ADJUSTMENTS",
    "FEE",
    "GAI",
    "ISSUANCE",
    "POOL",
    "AccountId",
    "Kind",
    "NanoGai",
    "Transfer",
    "escrow_account",
    "in_gai",
    "member_account",
    "member_of",
    "node_of",
]
