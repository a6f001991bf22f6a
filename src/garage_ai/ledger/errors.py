"""What the ledger refuses, and why.

LedgerError                      code
├── InvalidTransfer              invalid_transfer        no such transfer may be, whoever asks
├── TransferConflict             transfer_conflict       the same id for another transfer
├── InvalidPrice                 invalid_price           no price: below zero, too high, for nothing
├── PriceTooSoon                 price_too_soon          never changed for what has been admitted
└── Overdraft                    overdraft               more than the account has to give
    └── InsufficientBalance      insufficient_quota      ... for what a member asks

Failures of the database come through as StorageError: where the ledger cannot be asked, nothing
is served on credit.
"""

from garage_ai.ledger.models import AccountId


class LedgerError(Exception):
    """Anything the ledger refuses."""

    code = "ledger_error"


class InvalidTransfer(LedgerError):
    code = "invalid_transfer"


class TransferConflict(LedgerError):
    """A retry that says something else than the first time; `transfer` is the id."""

    code = "transfer_conflict"

    def __init__(self, transfer: str) -> None:
        super().__init__(f"{transfer!r} is the id of another transfer")
        self.transfer = transfer


class InvalidPrice(LedgerError):
    code = "invalid_price"


class PriceTooSoon(LedgerError):
    code = "price_too_soon"


class Overdraft(LedgerError):
    """`available` is what the account could have given, in nGAI."""

    code = "overdraft"

    def __init__(self, account: AccountId, available: int) -> None:
        super().__init__(f"{account} has only {available} nGAI to give")
        self.account = account
        self.available = available


class InsufficientBalance(Overdraft):
    code = "insufficient_quota"


__all__ = [
    "InsufficientBalance",
    "InvalidPrice",
    "InvalidTransfer",
    "LedgerError",
    "Overdraft",
    "PriceTooSoon",
    "TransferConflict",
]
