"""The log of who did what, invites, and members who are suspended or erased."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_MOMENT = sa.DateTime(timezone=True)
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_APPEND_ONLY = ("audit", "audit_heads")


def upgrade() -> None:
    """Make the log, which takes nothing back, and what members need."""
    _make_log()
    for table in _APPEND_ONLY:
        _forbid_changes(table)
    op.add_column("members", sa.Column("suspended_at", _MOMENT))
    op.add_column("members", sa.Column("erased_at", _MOMENT))
    _make_invites()


def _make_log() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", _NUMBER, nullable=False, autoincrement=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("actor", sa.String(16), nullable=False),
        sa.Column("actor_id", sa.String(64)),
        sa.Column("actor_member", sa.String(64)),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("member", sa.String(64)),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
    )
    op.create_table(
        "audit_heads",
        sa.Column("size", _NUMBER, nullable=False, autoincrement=False),
        sa.Column("root", sa.LargeBinary(32), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("public_key", sa.String(64), nullable=False),
        sa.Column("signature", sa.LargeBinary(64), nullable=False),
        sa.PrimaryKeyConstraint("size", name="pk_audit_heads"),
    )


def _forbid_changes(table: str) -> None:
    """Let the database refuse what the chain of hashes would only find afterwards."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {table}_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table} is append-only' USING ERRCODE = "
        "'integrity_constraint_violation'; END $$"
    )
    for each, verbs in (("ROW", "UPDATE OR DELETE"), ("STATEMENT", "TRUNCATE")):
        op.execute(
            f"CREATE TRIGGER {table}_keeps_{each.lower()} BEFORE {verbs} ON {table} "
            f"FOR EACH {each} EXECUTE FUNCTION {table}_is_append_only()"
        )


def _make_invites() -> None:
    op.create_table(
        "invites",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("member_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200)),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.Column("revoked_at", _MOMENT),
        sa.Column("idempotency_key", sa.String(255)),
        sa.PrimaryKeyConstraint("id", name="pk_invites"),
        sa.ForeignKeyConstraint(["member_id"], ["members.id"], name="fk_invites_member_id"),
        sa.UniqueConstraint("digest", name="uq_invites_digest"),
        sa.UniqueConstraint(
            "member_id", "idempotency_key", name="uq_invites_member_id_idempotency_key"
        ),
    )
    op.create_index("ix_invites_member_id", "invites", ["member_id"])
    op.create_table(
        "invited",
        sa.Column("member_id", sa.String(64), nullable=False),
        sa.Column("invite_id", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("idempotency_key", sa.String(255)),
        sa.PrimaryKeyConstraint("member_id", name="pk_invited"),
        sa.ForeignKeyConstraint(["member_id"], ["members.id"], name="fk_invited_member_id"),
        sa.ForeignKeyConstraint(["invite_id"], ["invites.id"], name="fk_invited_invite_id"),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name="fk_invited_key_id"),
        sa.UniqueConstraint(
            "invite_id", "idempotency_key", name="uq_invited_invite_id_idempotency_key"
        ),
    )
