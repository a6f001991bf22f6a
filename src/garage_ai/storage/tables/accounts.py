"""Tables of `accounts`: whose keys, tokens and nodes there are, and what is decided about them.

Secrets are kept as SHA-256 only. Keys, tokens and nodes have a member from the first migration.
"""

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from garage_ai.storage.tables.base import Utc, member_column, metadata, seq_column

members = Table(
    "members",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("suspended_at", Utc),
    Column("erased_at", Utc),
)

invites = Table(
    "invites",
    metadata,
    Column("id", String(64), primary_key=True),
    member_column(),  # who invites
    Column("name", String(200)),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("uses", Integer, nullable=False),
    Column("used", Integer, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("expires_at", Utc, nullable=False),
    Column("revoked_at", Utc),
    Column("idempotency_key", String(255)),
    UniqueConstraint("member_id", "idempotency_key"),
)

# What was made of an invite; an answer that was lost is asked for again by its key.
invited = Table(
    "invited",
    metadata,
    Column("member_id", String(64), ForeignKey("members.id"), primary_key=True),
    Column("invite_id", String(64), ForeignKey("invites.id"), nullable=False),
    Column("key_id", String(64), ForeignKey("keys.id"), nullable=False),
    Column("idempotency_key", String(255)),
    UniqueConstraint("invite_id", "idempotency_key"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(64), primary_key=True),
    member_column(index=False),  # the unique constraint below begins with it
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
    member_column(index=False),
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
    member_column(),
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

images = Table(
    "images",
    metadata,
    Column("digest", String(80), primary_key=True),
    Column("note", String(200), nullable=False),
    Column("decided_at", Utc, nullable=False),
    Column("revoked", Boolean, nullable=False),
)


# Kept as it was signed, so that anyone can check it again.
benchmarks = Table(
    "benchmarks",
    metadata,
    seq_column(),
    Column("node_id", String(64), ForeignKey("nodes.id"), nullable=False),
    Column("received_at", Utc, nullable=False),
    Column("body_digest", LargeBinary(32), nullable=False),
    Column("body", Text, nullable=False),
    Column("nonce", String(256), nullable=False),
    Column("signature", String(128), nullable=False),
    Column("public_key", String(64), nullable=False),
    UniqueConstraint("node_id", "body_digest"),
)

__all__ = [
    "benchmarks",
    "enrolment_tokens",
    "external_models",
    "images",
    "invited",
    "invites",
    "keys",
    "members",
    "nodes",
    "retired_node_keys",
]
