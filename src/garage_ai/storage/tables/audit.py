"""Tables of `audit`: what was done, and the heads that were signed over it.

The database itself refuses to change or delete a row of either (migration 0008).
"""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, String, Table, Text

from garage_ai.storage.tables.base import Utc, metadata


def _number(name: str) -> Column[int]:
    """Make a primary key that the log counts itself: no number may be left out."""
    kind = BigInteger().with_variant(Integer(), "sqlite")
    return Column(name, kind, primary_key=True, autoincrement=False)


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
