"""Whose a LiteLLM call is, is read from indexes: an erase must not read through all of them."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

_CALLERS = (
    *("booked_to", "key_hash", "key_alias"),
    *("key_user_id", "key_team_id", "key_team_alias"),
)


def upgrade() -> None:
    """Index whom calls were passed on to, and each of the names that callers have."""
    for name in _CALLERS:
        only = sa.text(f"{name} IS NOT NULL")
        op.create_index(
            f"ix_litellm_calls_{name}",
            "litellm_calls",
            [name],
            sqlite_where=only,
            postgresql_where=only,
        )
