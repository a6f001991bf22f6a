"""The table of `accounts` for models that administrators added to the network's catalogue."""

from sqlalchemy import BigInteger, Column, Index, String, Table, Text, text

from garage_ai.storage.tables.base import Utc, metadata

_THERE = text("removed_at IS NULL")

# What was removed stays: its digest stands in usage and prices. A change has a new revision.
manifests = Table(
    "manifests",
    metadata,
    Column("digest", String(80), primary_key=True),
    Column("name", String(96), nullable=False),
    Column("manifest", Text, nullable=False),  # JSON
    Column("added_at", Utc, nullable=False),
    Column("removed_at", Utc),
    Column("revision", BigInteger, nullable=False, index=True),
    Index(
        "ix_manifests_name",
        "name",
        unique=True,
        sqlite_where=_THERE,
        postgresql_where=_THERE,
    ),
)

__all__ = ["manifests"]
