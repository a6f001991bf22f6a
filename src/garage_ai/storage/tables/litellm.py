"""What LiteLLM proxies in front of a gateway tell, and whose their keys, users and teams are."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Index,
    ScalarSelect,
    String,
    Table,
    func,
    or_,
    select,
)

from garage_ai.storage.tables.base import Utc, member_column, metadata, seq_column

# What a LiteLLM proxy says of the calls it took. Evidence too, so no foreign keys here either.
litellm_calls = Table(
    "litellm_calls",
    metadata,
    seq_column(),
    Column("call_id", String(128), nullable=False, unique=True),
    Column("request_id", String(64), index=True),
    Column("proxy_id", String(64), nullable=False),  # the member whose key told of it
    Column("proxy_key_id", String(64), nullable=False, index=True),
    Column("received_at", Utc, nullable=False),
    Column("begun_at", Utc, nullable=False, index=True),
    Column("ended_at", Utc),
    Column("model", String(255), nullable=False),
    Column("route", String(32), nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("sent", Boolean, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("error", String(255)),
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("cost", BigInteger),  # nGAI
    Column("key_hash", String(255)),
    Column("key_alias", String(255)),
    Column("key_user_id", String(255)),
    Column("key_team_id", String(255)),
    Column("key_team_alias", String(255)),
    Column("state", String(16), nullable=False),
    Column("booked_to", String(64)),
    Column("booked", BigInteger),  # nGAI
    Index("ix_litellm_calls_state_seq", "state", "seq"),
)

# Whom of LiteLLM's keys, users and teams the gateway's members are.
litellm_mappings = Table(
    "litellm_mappings",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("value", String(255), primary_key=True),
    member_column(index=False),
    Column("created_at", Utc, nullable=False),
)

CALLERS: Final[Mapping[str, tuple[str, ...]]] = {
    "key": ("key_hash",),
    "alias": ("key_alias",),
    "user": ("key_user_id",),
    "team": ("key_team_id", "key_team_alias"),
}
"""Where a call says who called, by the kind of mapping; the most exact first."""


for _name in ("booked_to", *(name for names in CALLERS.values() for name in names)):
    _told = litellm_calls.c[_name].is_not(None)
    Index(
        f"ix_litellm_calls_{_name}",
        litellm_calls.c[_name],
        sqlite_where=_told,
        postgresql_where=_told,
    )


def may_be_of(member: str, mapped: Iterable[tuple[str, str]]) -> ColumnElement[bool]:
    """Find by indexes what may be a member's calls; `mapped` are kinds and values that name it."""
    calls = litellm_calls.c
    values: dict[str, list[str]] = {}
    for kind, value in mapped:
        for name in CALLERS.get(kind, ()):
            values.setdefault(name, []).append(value)
    return or_(
        calls.booked_to == member, *(calls[name].in_(found) for name, found in values.items())
    )


def _owner(kind: str, columns: Sequence[str]) -> ScalarSelect[str]:
    table = litellm_mappings
    values = [litellm_calls.c[column] for column in columns]
    return (
        select(table.c.member_id)
        .where(table.c.kind == kind, or_(*(table.c.value == value for value in values)))
        .limit(1)
        .correlate(litellm_calls)
        .scalar_subquery()
    )


litellm_payer: Final = func.coalesce(
    litellm_calls.c.booked_to, *(_owner(kind, columns) for kind, columns in CALLERS.items())
)
"""Whose a call is: whom it was passed on to, or whom the most exact mapping of it names."""

__all__ = ["CALLERS", "litellm_calls", "litellm_mappings", "litellm_payer", "may_be_of"]
