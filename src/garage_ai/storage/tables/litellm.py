"""What LiteLLM proxies in front of a gateway tell, and whose their keys, users and teams are."""

from sqlalchemy import BigInteger, Boolean, Column, Index, String, Table

from garage_ai.storage.tables.base import Utc, member_column, metadata, seq_column

# What a LiteLLM proxy says of the calls it took. Evidence too, so no foreign keys here either.
litellm_calls = Table(
    "litellm_calls",
    metadata,
    seq_column(),
    Column("call_id", String(128), nullable=False, unique=True),
    Column("request_id", String(64), index=True),
    Column("proxy_id", String(64), nullable=False),  # the member whose key told of it
    Column("proxy_key_id", String(64), nullable=False),
    Column("received_at", Utc, nullable=False),
    Column("begun_at", Utc, nullable=False, index=True),
    Column("ended_at", Utc),
    Column("model", String(255), nullable=False),
    Column("route", String(32), nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("sent", Boolean, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("error", String(255)),
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("cost", BigInteger),  # nGAI
    Column("key_hash", String(255)),
    Column("key_alias", String(255)),
    Column("key_user_id", String(255)),
    Column("key_team_id", String(255)),
    Column("key_team_alias", String(255)),
    Column("state", String(16), nullable=False),
    Column("booked_to", String(64)),
    Column("booked", BigInteger),  # nGAI
    Index("ix_litellm_calls_state_seq", "state", "seq"),
)

# Whom of LiteLLM's keys, users and teams the gateway's members are.
litellm_mappings = Table(
    "litellm_mappings",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("value", String(255), primary_key=True),
    member_column(index=False),
    Column("created_at", Utc, nullable=False),
)

__all__ = ["litellm_calls", "litellm_mappings"]
