"""Which nodes may serve without a whole sandbox, and which tokens let one do so."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the two moments; who was let in before there was a rule stays let in."""
    for table in ("nodes", "enrolment_tokens"):
        op.add_column(table, sa.Column("bare_allowed_at", _MOMENT))
    op.execute("UPDATE nodes SET bare_allowed_at = created_at")
