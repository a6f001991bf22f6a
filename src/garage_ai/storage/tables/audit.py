"""Tables of `audit`: what was done, and the heads that were signed over it.

The database itself refuses to change or delete a row of either (migration 0008).
"""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Table, Text, text

from garage_ai.storage.tables.base import Utc, metadata


def _number(name: str) -> Column[int]:
    """Make a primary key that the log counts itself: no number may be left out."""
    kind = BigInteger().with_variant(Integer(), "sqlite")
    return Column(name, kind, primary_key=True, autoincrement=False)


def _index_of_those_with(name: str) -> Index:
    """Index a column where there is something in it."""
    told = text(f"{name} IS NOT NULL")
    return Index(f"ix_audit_{name}", name, sqlite_where=told, postgresql_where=told)


# No foreign keys: what was done stays, whatever becomes of whom it was done to.
audit = Table(
    "audit",
    metadata,
    _number("seq"),
    Column("at", Utc, nullable=False),
    Column("action", String(64), nullable=False),
    Column("actor", String(16), nullable=False),
    Column("actor_id", String(64)),
    Column("actor_member", String(64)),
    Column("subject", String(255), nullable=False),
    Column("member", String(64)),
    Column("details", Text, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    Index("ix_audit_action_seq", "action", "seq"),
    _index_of_those_with("member"),
    _index_of_those_with("actor_member"),
)

audit_heads = Table(
    "audit_heads",
    metadata,
    _number("size"),
    Column("root", LargeBinary(32), nullable=False),
    Column("at", Utc, nullable=False),
    Column("public_key", String(64), nullable=False),
    Column("signature", LargeBinary(64), nullable=False),
)

__all__ = ["audit", "audit_heads"]
