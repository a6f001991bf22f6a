"""What LiteLLM proxies say of their calls, whose they are, and what clients call their requests."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the tables of calls and of mappings, and a name for requests that clients give."""
    op.add_column("usage", sa.Column("caller_id", sa.String(128), nullable=True))
    op.create_index(
        "ix_usage_caller_id",
        "usage",
        ["caller_id"],
        sqlite_where=sa.text("caller_id IS NOT NULL"),
        postgresql_where=sa.text("caller_id IS NOT NULL"),
    )
    _calls()
    op.create_table(
        "litellm_mappings",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("value", sa.String(255), nullable=False),
        sa.Column("member_id", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("kind", "value", name="pk_litellm_mappings"),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.id"], name="fk_litellm_mappings_member_id"
        ),
    )


def _calls() -> None:
    op.create_table(
        "litellm_calls",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("call_id", sa.String(128), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=True),
        sa.Column("proxy_id", sa.String(64), nullable=False),
        sa.Column("proxy_key_id", sa.String(64), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("route", sa.String(32), nullable=False),
        sa.Column("stream", sa.Boolean(), nullable=False),
        sa.Column("sent", sa.Boolean(), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("error", sa.String(255), nullable=True),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=True),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cost", sa.BigInteger(), nullable=True),
        sa.Column("key_hash", sa.String(255), nullable=True),
        sa.Column("key_alias", sa.String(255), nullable=True),
        sa.Column("key_user_id", sa.String(255), nullable=True),
        sa.Column("key_team_id", sa.String(255), nullable=True),
        sa.Column("key_team_alias", sa.String(255), nullable=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("booked_to", sa.String(64), nullable=True),
        sa.Column("booked", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name="pk_litellm_calls"),
        sa.UniqueConstraint("call_id", name="uq_litellm_calls_call_id"),
    )
    op.create_index("ix_litellm_calls_request_id", "litellm_calls", ["request_id"])
    op.create_index("ix_litellm_calls_begun_at", "litellm_calls", ["begun_at"])
    op.create_index("ix_litellm_calls_state_seq", "litellm_calls", ["state", "seq"])
