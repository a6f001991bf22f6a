"""Accounts that add up: what use costs, what nodes earn, and who has how much."""

from garage_ai.ledger.allowances import Allowances
from garage_ai.ledger.books import Lease, LeaseId, Receipt, Settlement
from garage_ai.ledger.counting.library import Librarian, Library
from garage_ai.ledger.errors import (
    InsufficientBalance,
    InvalidTransfer,
    LedgerError,
    Overdraft,
    TransferConflict,
)
from garage_ai.ledger.figures import FigureJudge, Figures, Standing
from garage_ai.ledger.grants import Grants
from garage_ai.ledger.leases import Leases
from garage_ai.ledger.metering import Counted, CountSource, Meter, RuleMeter, TokenMeter
from garage_ai.ledger.models import (
    ADJUSTMENTS,
    FEE,
    GAI,
    ISSUANCE,
    POOL,
    AccountId,
    Kind,
    NanoGai,
    Transfer,
    escrow_account,
    in_gai,
    member_account,
)
from garage_ai.ledger.projector import Projector
from garage_ai.ledger.reservation import Reservation
from garage_ai.ledger.rules import class_of
from garage_ai.ledger.service import Balance, Ledger, Statement
from garage_ai.ledger.usage_writer import UsageCounts, UsageWriter
from garage_ai.ledger.verification import Finding, Verification

__all__ = [
    "ADJUSTMENTS",
    "FEE",
    "GAI",
    "ISSUANCE",
    "POOL",
    "AccountId",
    "Allowances",
    "Balance",
    "CountSource",
    "Counted",
    "FigureJudge",
    "Figures",
    "Finding",
    "Grants",
    "InsufficientBalance",
    "InvalidTransfer",
    "Kind",
    "Lease",
    "LeaseId",
    "Leases",
    "Ledger",
    "LedgerError",
    "Librarian",
    "Library",
    "Meter",
    "NanoGai",
    "Overdraft",
    "Projector",
    "Receipt",
    "Reservation",
    "RuleMeter",
    "Settlement",
    "Standing",
    "Statement",
    "TokenMeter",
    "Transfer",
    "TransferConflict",
    "UsageCounts",
    "UsageWriter",
    "Verification",
    "class_of",
    "escrow_account",
    "in_gai",
    "member_account",
]
