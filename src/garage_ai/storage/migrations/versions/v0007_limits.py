"""What keys and members may use, and how much of it is used."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_AMOUNTS = (
    "rpm",
    "tpm",
    "streams",
    "daily_tokens",
    "monthly_tokens",
    "daily_gai",
    "monthly_gai",
)


def upgrade() -> None:
    """Make both tables; nobody is limited before somebody says so."""
    op.create_table(
        "limits",
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.BigInteger()) for name in _AMOUNTS),
        sa.Column("models", sa.Text()),
        sa.Column("regions", sa.Text()),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("subject", name="pk_limits"),
        sa.UniqueConstraint("revision", name="uq_limits_revision"),
    )
    op.create_table(
        "limit_pools",
        sa.Column("id", sa.String(100), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_limit_pools"),
    )
