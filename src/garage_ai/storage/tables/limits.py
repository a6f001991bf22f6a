"""Tables of limits: what keys and members may use, and where gateways meet over it."""

from sqlalchemy import BigInteger, Column, String, Table, Text

from garage_ai.storage.tables.base import Utc, metadata

# NULL is no limit and 0 is nothing at all. A subject is a key's id or a member's.
limits = Table(
    "limits",
    metadata,
    Column("subject", String(64), primary_key=True),
    Column("revision", BigInteger, nullable=False, unique=True),  # in the order of the changes
    Column("rpm", BigInteger),
    Column("tpm", BigInteger),
    Column("streams", BigInteger),
    Column("daily_tokens", BigInteger),
    Column("monthly_tokens", BigInteger),
    Column("daily_gai", BigInteger),  # nGAI
    Column("monthly_gai", BigInteger),  # nGAI
    Column("models", Text),  # JSON list, sorted
    Column("regions", Text),  # JSON list, sorted
    Column("expires_at", Utc),
)

limit_pools = Table(
    "limit_pools",
    metadata,
    Column("id", String(100), primary_key=True),  # SUBJECT/DIMENSION
    Column("state", Text, nullable=False),  # JSON: what was used when, and who leases how much
)

__all__ = ["limit_pools", "limits"]
