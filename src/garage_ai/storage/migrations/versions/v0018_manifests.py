"""Which models administrators added to the network's catalogue."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Make the table of manifests; of those that are there each has a name of its own."""
    op.create_table(
        "manifests",
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("name", sa.String(96), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True)),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_manifests"),
    )
    only = sa.text("removed_at IS NULL")
    op.create_index(
        "ix_manifests_name",
        "manifests",
        ["name"],
        unique=True,
        sqlite_where=only,
        postgresql_where=only,
    )
    op.create_index("ix_manifests_revision", "manifests", ["revision"])
