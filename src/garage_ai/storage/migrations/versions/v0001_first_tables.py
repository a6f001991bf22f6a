"""Members, keys, enrolment tokens, nodes, external models and usage."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# A step keeps its own types: `tables/` moves on, history does not.
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the first tables and the built-in member."""
    _make_members()
    _make_keys()
    _make_enrolment_tokens()
    _make_nodes()
    _make_external_models()
    _make_usage()


def _make_members() -> None:
    members = op.create_table(
        "members",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_members"),
    )
    operator = {
        "id": "mbr_operator",
        "name": "the operator of this network",
        "created_at": datetime.now(UTC),
    }
    op.bulk_insert(members, [operator])


def _make_keys() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("member_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("scopes", sa.String(200), nullable=False),
        sa.Column("region", sa.String(16)),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("last_used_at", _MOMENT),
        sa.Column("revoked_at", _MOMENT),
        sa.Column("idempotency_key", sa.String(255)),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
        sa.ForeignKeyConstraint(["member_id"], ["members.id"], name="fk_keys_member_id"),
        sa.UniqueConstraint("digest", name="uq_keys_digest"),
        sa.UniqueConstraint(
            "member_id", "idempotency_key", name="uq_keys_member_id_idempotency_key"
        ),
    )
    op.create_index("ix_keys_revoked_at", "keys", ["revoked_at"])


def _make_enrolment_tokens() -> None:
    op.create_table(
        "enrolment_tokens",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("member_id", sa.String(64), nullable=False),
        sa.Column("region", sa.String(16)),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.Column("redeemed_at", _MOMENT),
        sa.Column("redeemed_by", sa.String(64)),
        sa.Column("revoked_at", _MOMENT),
        sa.Column("idempotency_key", sa.String(255)),
        sa.PrimaryKeyConstraint("id", name="pk_enrolment_tokens"),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.id"], name="fk_enrolment_tokens_member_id"
        ),
        sa.UniqueConstraint("digest", name="uq_enrolment_tokens_digest"),
        sa.UniqueConstraint(
            "member_id", "idempotency_key", name="uq_enrolment_tokens_member_id_idempotency_key"
        ),
    )


def _make_nodes() -> None:
    op.create_table(
        "nodes",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("member_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("public_key", sa.String(64), nullable=False),
        sa.Column("region", sa.String(16)),
        sa.Column("trust", sa.String(32), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("last_seen_at", _MOMENT),
        sa.Column("removed_at", _MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_nodes"),
        sa.ForeignKeyConstraint(["member_id"], ["members.id"], name="fk_nodes_member_id"),
        sa.UniqueConstraint("public_key", name="uq_nodes_public_key"),
    )
    op.create_index("ix_nodes_member_id", "nodes", ["member_id"])
    op.create_table(
        "retired_node_keys",
        sa.Column("public_key", sa.String(64), nullable=False),
        sa.Column("node_id", sa.String(64), nullable=False),
        sa.Column("retired_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("public_key", name="pk_retired_node_keys"),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name="fk_retired_node_keys_node_id"),
    )
    op.create_index("ix_retired_node_keys_node_id", "retired_node_keys", ["node_id"])


def _make_external_models() -> None:
    op.create_table(
        "external_models",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("member_id", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("approved_at", _MOMENT),
        sa.Column("by_admin", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name", "member_id", name="pk_external_models"),
        sa.ForeignKeyConstraint(["member_id"], ["members.id"], name="fk_external_models_member_id"),
    )


def _make_usage() -> None:
    op.create_table(
        "usage",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("member_id", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("route", sa.String(32), nullable=False),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("digest", sa.String(80)),
        sa.Column("node_id", sa.String(64)),
        sa.Column("outcome", sa.String(64), nullable=False),
        sa.Column("stream", sa.Boolean(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger()),
        sa.Column("completion_tokens", sa.BigInteger()),
        sa.Column("content_events", sa.BigInteger(), nullable=False),
        sa.Column("bytes_out", sa.BigInteger(), nullable=False),
        sa.Column("ttft_s", sa.Float()),
        sa.Column("duration_s", sa.Float(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_usage"),
        sa.UniqueConstraint("request_id", name="uq_usage_request_id"),
    )
    op.create_index("ix_usage_at", "usage", ["at"])
    op.create_index("ix_usage_member_id_at", "usage", ["member_id", "at"])
