"""Acts, rewards and calls are found by indexes: in a few years nobody reads all of them in time."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Index acts by what they are and whose, rewards by whom they are for, calls by their key."""
    op.create_index("ix_audit_action_seq", "audit", ["action", "seq"])
    for name in ("member", "actor_member"):
        _create_partial(f"ix_audit_{name}", "audit", [name], f"{name} IS NOT NULL")
    op.create_index("ix_rewards_credit_id", "rewards", ["credit", "id"])
    # What is posted needs no entry in it, as in the index by `posted_at` that it replaces.
    op.drop_index("ix_rewards_posted_at", "rewards")
    _create_partial("ix_rewards_unposted", "rewards", ["decided_at", "id"], "posted_at IS NULL")
    op.create_index("ix_litellm_calls_proxy_key_id", "litellm_calls", ["proxy_key_id"])


def _create_partial(index: str, table: str, columns: list[str], only: str) -> None:
    where = sa.text(only)
    op.create_index(index, table, columns, sqlite_where=where, postgresql_where=where)
