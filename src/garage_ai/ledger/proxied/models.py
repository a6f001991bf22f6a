"""What a LiteLLM proxy tells of a call, and whose its keys, users and teams are."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from garage_ai.ledger.models import NanoGai
from garage_ai.storage import KeyId, MemberId

CallOutcome = Literal["ok", "failed", "left", "lost"]
"""`left`: the client did, before the end. `lost`: the proxy died and nobody knows the end."""

MappingKind = Literal["key", "alias", "user", "team"]
"""What of LiteLLM stands for a member, the most exact first: that one decides."""

TellResult = Literal["new", "known", "taken"]
"""`known`: this proxy told of it before. `taken`: another member's proxy did; it is not kept."""


@dataclass(frozen=True, slots=True)
class ProxiedCall:
    """A call as the proxy saw it.

    `sent` is whether it went out to the gateway; `request_id` is the gateway's id, where the proxy
    learned it. Tokens are LiteLLM's count, `cost` is by the prices of its configuration; None is
    "not told", never zero.
    """

    call_id: str
    request_id: str | None
    begun_at: datetime
    ended_at: datetime | None
    model: str
    route: str
    stream: bool
    sent: bool
    outcome: CallOutcome
    error: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: NanoGai | None = None
    key_hash: str | None = None
    key_alias: str | None = None
    key_user_id: str | None = None
    key_team_id: str | None = None
    key_team_alias: str | None = None


@dataclass(frozen=True, slots=True)
class ToldCall:
    """A call, who told of it, and what became of it in the books.

    `proxy` is the member whose key the proxy has; it paid. `booked_to` is the member that the
    amount `booked` was passed on to.
    """

    seq: int
    proxy: MemberId
    proxy_key: KeyId
    call: ProxiedCall
    booked_to: MemberId | None
    booked: NanoGai | None


@dataclass(frozen=True, slots=True)
class Mapping:
    """Who pays for the calls of a LiteLLM key (by its hash or its alias), user or team."""

    kind: MappingKind
    value: str
    member: MemberId
    created_at: datetime


__all__ = [
    "CallOutcome",
    "Mapping",
    "MappingKind",
    "ProxiedCall",
    "TellResult",
    "ToldCall",
]
