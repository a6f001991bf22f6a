"""How often an item's lease ran out; and what may begin later is passed over in the index."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0014"

_QUEUED = "ix_batch_items_queued"


def upgrade() -> None:
    """Count losses from now on; claims alone are none."""
    losses = sa.Column("losses", sa.Integer(), nullable=False, server_default="0")
    op.add_column("batch_items", losses)
    only = sa.text("state = 'queued'")
    op.drop_index(_QUEUED, "batch_items")
    columns = ["batch_id", "line", "not_before"]
    op.create_index(_QUEUED, "batch_items", columns, sqlite_where=only, postgresql_where=only)
