"""Files, batches and their items."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables of batch; there was none before."""
    _make_files()
    _make_batches()
    _make_items()


def _make_files() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("member_id", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("filename", sa.String(255), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("expires_at", _MOMENT),
        sa.Column("place", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
        sa.ForeignKeyConstraint(["member_id"], ["members.id"], name="fk_files_member_id"),
    )
    op.create_index("ix_files_expires_at", "files", ["expires_at"])
    op.create_index("ix_files_member_id_created_at_id", "files", ["member_id", "created_at", "id"])
    op.create_index("ix_files_status_created_at", "files", ["status", "created_at"])


def _make_batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("member_id", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("input_file_id", sa.String(64), nullable=False),
        sa.Column("output_file_id", sa.String(64)),
        sa.Column("error_file_id", sa.String(64)),
        sa.Column("endpoint", sa.String(64), nullable=False),
        sa.Column("model", sa.String(255)),
        sa.Column("completion_window", sa.String(16), nullable=False),
        sa.Column("output_expires_s", sa.BigInteger()),
        sa.Column("metadata", sa.Text()),
        sa.Column("isolation", sa.String(16)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("errors", sa.Text()),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
        *(sa.Column(name, _MOMENT) for name in _STEPS),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _SUMS),
        sa.Column("holder", sa.String(64)),
        sa.Column("due_at", _MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_batches"),
        sa.ForeignKeyConstraint(["member_id"], ["members.id"], name="fk_batches_member_id"),
        sa.UniqueConstraint(
            "member_id", "idempotency_key", name="uq_batches_member_id_idempotency_key"
        ),
    )
    op.create_index(
        "ix_batches_member_id_created_at_id", "batches", ["member_id", "created_at", "id"]
    )
    op.create_index("ix_batches_due_at", "batches", ["due_at"])
    op.create_index("ix_batches_status_created_at", "batches", ["status", "created_at"])


_STEPS = (
    "in_progress_at",
    "finalizing_at",
    "completed_at",
    "failed_at",
    "expired_at",
    "cancelling_at",
    "cancelled_at",
)
_SUMS = ("total", "completed", "failed", "reserved", "input_tokens", "output_tokens")


def _make_items() -> None:
    op.create_table(
        "batch_items",
        sa.Column("batch_id", sa.String(64), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("custom_id", sa.String(255), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(64)),
        sa.Column("lease_until", _MOMENT),
        sa.Column("not_before", _MOMENT),
        sa.Column("result", sa.LargeBinary()),
        sa.Column("finished_at", _MOMENT),
        sa.PrimaryKeyConstraint("batch_id", "line", name="pk_batch_items"),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name="fk_batch_items_batch_id"),
    )
    for name, columns, state in (
        ("ix_batch_items_queued", ["batch_id", "line"], "queued"),
        ("ix_batch_items_leased", ["lease_until"], "leased"),
    ):
        only = sa.text(f"state = '{state}'")
        op.create_index(name, "batch_items", columns, sqlite_where=only, postgresql_where=only)
