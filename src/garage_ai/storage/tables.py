"""Every table, in column types that SQLite and PostgreSQL share.

Secrets are kept as SHA-256 only. Keys, tokens and nodes have a member from the first migration.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator


class Utc(TypeDecorator[datetime]):
    """Keep an aware moment in UTC; a naive one is refused, since nobody knows when it was."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: Dialect) -> datetime | None:
        """Turn a moment into UTC on its way in."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _: Dialect) -> datetime | None:
        """Give a moment back in UTC; SQLite keeps no zone, so it is put back here."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData(
    # Named constraints, so that a later migration can change them on either database.
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _member(*, index: bool = True) -> Column[str]:
    return Column("member_id", String(64), ForeignKey("members.id"), nullable=False, index=index)


members = Table(
    "members",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("created_at", Utc, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(64), primary_key=True),
    _member(index=False),  # the unique constraint below begins with it
    Column("name", String(200), nullable=False),
    Column("scopes", String(200), nullable=False),  # space-separated, sorted
    Column("region", String(16)),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("created_at", Utc, nullable=False),
    Column("last_used_at", Utc),
    Column("revoked_at", Utc, index=True),
    Column("idempotency_key", String(255)),
    UniqueConstraint("member_id", "idempotency_key"),
)

enrolment_tokens = Table(
    "enrolment_tokens",
    metadata,
    Column("id", String(64), primary_key=True),
    _member(index=False),
    Column("region", String(16)),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("created_at", Utc, nullable=False),
    Column("expires_at", Utc, nullable=False),
    Column("redeemed_at", Utc),
    Column("redeemed_by", String(64)),  # a node id; a foreign key would order the two inserts
    Column("revoked_at", Utc),
    Column("idempotency_key", String(255)),
    Column("bare_allowed_at", Utc),
    UniqueConstraint("member_id", "idempotency_key"),
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", String(64), primary_key=True),
    _member(),
    Column("name", String(200), nullable=False),
    Column("public_key", String(64), nullable=False, unique=True),
    Column("region", String(16)),
    Column("trust", String(32), nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("last_seen_at", Utc),
    Column("removed_at", Utc),
    Column("bare_allowed_at", Utc),
)

retired_node_keys = Table(
    "retired_node_keys",
    metadata,
    Column("public_key", String(64), primary_key=True),
    Column("node_id", String(64), ForeignKey("nodes.id"), nullable=False, index=True),
    Column("retired_at", Utc, nullable=False),
)

external_models = Table(
    "external_models",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("member_id", String(64), ForeignKey("members.id"), primary_key=True),
    Column("digest", String(80), nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("approved_at", Utc),
    Column("by_admin", Boolean, nullable=False),
)

# Kept as it was signed, so that anyone can check it again.
benchmarks = Table(
    "benchmarks",
    metadata,
    Column(
        "seq",
        BigInteger().with_variant(Integer(), "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    Column("node_id", String(64), ForeignKey("nodes.id"), nullable=False),
    Column("received_at", Utc, nullable=False),
    Column("body_digest", LargeBinary(32), nullable=False),
    Column("body", Text, nullable=False),
    Column("nonce", String(256), nullable=False),
    Column("signature", String(128), nullable=False),
    Column("public_key", String(64), nullable=False),
    UniqueConstraint("node_id", "body_digest"),
)

# No foreign keys: a usage record is evidence of what happened, so nothing may refuse it.
usage = Table(
    "usage",
    metadata,
    Column(
        "seq",
        # SQLite numbers rows by itself only in a column of exactly the type INTEGER.
        BigInteger().with_variant(Integer(), "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    Column("request_id", String(64), nullable=False, unique=True),
    Column("at", Utc, nullable=False, index=True),
    Column("member_id", String(64), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("route", String(32), nullable=False),
    Column("model", String(255), nullable=False),
    Column("digest", String(80)),
    Column("node_id", String(64)),
    Column("outcome", String(64), nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("content_events", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("ttft_s", Float),
    Column("duration_s", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("parts", Text),  # JSON of `UsagePart`s, where more than one node answered
    Index("ix_usage_member_id_at", "member_id", "at"),
)


__all__ = [
    "Utc",
    "benchmarks",
    "enrolment_tokens",
    "external_models",
    "keys",
    "members",
    "metadata",
    "nodes",
    "retired_node_keys",
    "usage",
]
