"""What batches pay, and how much of its batch's promise each item may use."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0012"


def upgrade() -> None:
    """Let batches pay half of every price that is published."""
    half = sa.Column("batch_permille", sa.Integer(), nullable=False, server_default="500")
    op.add_column("prices", half)
    hold = sa.Column("hold", sa.BigInteger(), nullable=False, server_default="0")
    op.add_column("batch_items", hold)
