"""What the gateway itself counted of a request: that is what is billed."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Give usage columns for it; nobody counted the requests of before."""
    op.add_column("usage", sa.Column("counted_prompt_tokens", sa.BigInteger()))
    op.add_column("usage", sa.Column("counted_completion_tokens", sa.BigInteger()))
    op.add_column("usage", sa.Column("count_source", sa.String(16)))
