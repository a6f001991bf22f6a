"""What nodes measured of themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table of signed benchmarks."""
    op.create_table(
        "benchmarks",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("node_id", sa.String(64), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("nonce", sa.String(256), nullable=False),
        sa.Column("signature", sa.String(128), nullable=False),
        sa.Column("public_key", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_benchmarks"),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name="fk_benchmarks_node_id"),
        sa.UniqueConstraint("node_id", "body_digest", name="uq_benchmarks_node_id_body_digest"),
    )
