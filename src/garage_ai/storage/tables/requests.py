"""The table of usage: one row of each request."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
)

from garage_ai.storage.tables.base import Utc, metadata, seq_column

# No foreign keys: a usage record is evidence of what happened, so nothing may refuse it.
usage = Table(
    "usage",
    metadata,
    seq_column(),
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
    Column("charge", BigInteger),  # nGAI; none where no request was ever charged
    Column("caller_id", String(128)),  # what the client calls the request
    Column("counted_prompt_tokens", BigInteger),
    Column("counted_completion_tokens", BigInteger),
    Column("count_source", String(16)),
    Index("ix_usage_member_id_at", "member_id", "at"),
    # Hardly any client names its requests; those that do not cost no index.
    Index(
        "ix_usage_caller_id",
        "caller_id",
        sqlite_where=text("caller_id IS NOT NULL"),
        postgresql_where=text("caller_id IS NOT NULL"),
    ),
)

__all__ = ["usage"]
