"""The tables of the ledger: what was entered for good, and what follows from it.

`transfers` is the truth and only grows. `balances` and `queued_entries` follow from it and can be
made again; of an account, both belong to whoever has its row of `balances` locked.
"""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Table

from garage_ai.storage.tables.base import Utc, metadata, seq_column

# No foreign keys: an account outlives the member or node it is named after.
transfers = Table(
    "transfers",
    metadata,
    seq_column(),
    Column("id", String(200), nullable=False, unique=True),
    Column("kind", String(32), nullable=False),
    Column("debit", String(80), nullable=False),
    Column("credit", String(80), nullable=False),
    Column("amount", BigInteger, nullable=False),  # nGAI, above zero
    Column("at", Utc, nullable=False),
    Column("request_id", String(64)),
    Column("note", String(500)),
    Column("digest", LargeBinary(32), nullable=False),  # SHA-256 of what stands before it
    Index("ix_transfers_debit_seq", "debit", "seq"),
    Index("ix_transfers_credit_seq", "credit", "seq"),
)

balances = Table(
    "balances",
    metadata,
    Column("account", String(80), primary_key=True),
    Column("amount", BigInteger, nullable=False),
    Column("leased", BigInteger, nullable=False),  # what open leases have not settled
    Column("entries", BigInteger, nullable=False),
)

# What has come to accounts whose rows nobody had to lock for it; summed up by group.
queued_entries = Table(
    "queued_entries",
    metadata,
    seq_column(),
    Column("account", String(80), nullable=False, index=True),
    Column("amount", BigInteger, nullable=False),
    Column("entries", BigInteger, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("gateway", String(64), nullable=False),
    Column("payer", String(80), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("settled", BigInteger, nullable=False),
    Column("expires_at", Utc, nullable=False),
    Column("state", String(16), nullable=False),  # open, closed, expired
    Index("ix_leases_state_expires_at", "state", "expires_at"),
)

# The bound of what a gateway may have served without a bill before it was gone.
unaccounted = Table(
    "unaccounted",
    metadata,
    Column("lease", String(64), primary_key=True),
    Column("gateway", String(64), nullable=False),
    Column("payer", String(80), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("at", Utc, nullable=False),
)


__all__ = ["balances", "leases", "queued_entries", "transfers", "unaccounted"]
