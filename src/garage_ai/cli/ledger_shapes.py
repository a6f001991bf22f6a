"""What a gateway answers of its ledger; amounts are in nGAI, as text."""

import msgspec


class Balance(msgspec.Struct, frozen=True):
    """What an account has."""

    account: str
    amount: str
    reserved: str
    available: str
    available_gai: str


class Entry(msgspec.Struct, frozen=True):
    """One transfer."""

    id: str
    kind: str
    debit: str
    credit: str
    amount: str
    at: str
    request_id: str | None = None
    note: str | None = None


class Statement(msgspec.Struct, frozen=True):
    """Some transfers of an account, newest first."""

    account: str
    transfers: tuple[Entry, ...]
    before: int | None = None


class Forfeited(msgspec.Struct, frozen=True):
    """What was held back of a node and is no more its owner's."""

    id: str
    amount: str


class Finding(msgspec.Struct, frozen=True):
    row: str
    what: str


class Verification(msgspec.Struct, frozen=True):
    """What a look through the whole books gave."""

    sound: bool
    transfers: int
    accounts: int
    queued: int
    open_leases: int
    unaccounted_leases: int
    unaccounted: str
    faults: int
    findings: tuple[Finding, ...]
    adjustments: int = 0
    adjusted: str = "0"


__all__ = ["Balance", "Entry", "Finding", "Forfeited", "Statement", "Verification"]
