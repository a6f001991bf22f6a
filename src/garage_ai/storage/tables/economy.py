"""Tables of what things cost and what is given: prices, rewards, and when nodes were there."""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, text

from garage_ai.storage.tables.base import Utc, metadata

# Entries are only added. No foreign key: the price list outlives who set it.
prices = Table(
    "prices",
    metadata,
    Column("id", String(300), primary_key=True),
    Column("subject", String(255), nullable=False),
    Column("prompt", BigInteger, nullable=False),
    Column("completion", BigInteger, nullable=False),
    Column("effective_from", Utc, nullable=False),
    Column("set_at", Utc, nullable=False),
    Column("set_by", String(64)),
    Column("note", String(200), nullable=False),
    # Thousandths of it that batches pay.
    Column("batch_permille", Integer, nullable=False, server_default="500"),
    Index("ix_prices_subject_effective_from", "subject", "effective_from"),
)

TURNS = text("kind IN ('release', 'forfeit')")
"""Which rewards say how a node stands. A query finds them by their index in these words alone."""

_UNPOSTED = text("posted_at IS NULL")

# What was decided to give, by the id of its transfer: decided once, and posted until it is.
rewards = Table(
    "rewards",
    metadata,
    Column("id", String(200), primary_key=True),
    Column("period", String(32), nullable=False, index=True),
    Column("kind", String(32), nullable=False),
    Column("debit", String(100), nullable=False),
    Column("credit", String(100), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("decided_at", Utc, nullable=False),
    Column("note", String(200), nullable=False),
    Column("posted_at", Utc),
    Index("ix_rewards_credit_id", "credit", "id"),
    Index(
        "ix_rewards_unposted",
        "decided_at",
        "id",
        sqlite_where=_UNPOSTED,
        postgresql_where=_UNPOSTED,
    ),
    # The others are stipends, one for each node and hour.
    Index(
        "ix_rewards_turns",
        "debit",
        "kind",
        "decided_at",
        sqlite_where=TURNS,
        postgresql_where=TURNS,
    ),
)

# A bit of `minutes` for each minute of an hour in which some gateway saw the node warm.
warm_hours = Table(
    "warm_hours",
    metadata,
    Column("hour", Utc, primary_key=True),
    Column("node_id", String(64), primary_key=True),
    Column("minutes", BigInteger, nullable=False),
)

__all__ = ["TURNS", "prices", "rewards", "warm_hours"]
