"""When each node was last released or forfeited is read from an index, every minute."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Index the few rewards that are turns, beside the stipends that are most of them."""
    only = sa.text("kind IN ('release', 'forfeit')")
    op.create_index(
        "ix_rewards_turns",
        "rewards",
        ["debit", "kind", "decided_at"],
        sqlite_where=only,
        postgresql_where=only,
    )
