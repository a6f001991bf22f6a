"""What each node contributed to an answer that went on elsewhere."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Give usage a column for it; records of before had one part only."""
    op.add_column("usage", sa.Column("parts", sa.Text()))
