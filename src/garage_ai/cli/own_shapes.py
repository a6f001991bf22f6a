"""What a gateway answers about members, invites, what is one's own, and the log of acts."""

import msgspec

from garage_ai.cli.ledger_shapes import Balance
from garage_ai.cli.shapes import Key, Member, Rig, UsageTotal


class MadeInvite(msgspec.Struct, frozen=True):
    """A new invite; the time is ISO 8601."""

    id: str
    secret: str
    expires_at: str | None = None


class Invite(msgspec.Struct, frozen=True):
    """An invite, `open`, `used`, `revoked` or `expired`; the time is ISO 8601."""

    id: str
    name: str | None
    uses: int
    used: int
    state: str
    expires_at: str


class Joined(msgspec.Struct, frozen=True):
    """A new member with its first key; the secret is told once."""

    member: Member
    key: Key
    secret: str | None = None


class Me(msgspec.Struct, frozen=True):
    """The key that asks and what its member has; None where the key may not see it."""

    key: Key
    member: Member
    keys: tuple[Key, ...] | None = None
    nodes: tuple[Rig, ...] | None = None
    usage: tuple[UsageTotal, ...] | None = None
    balance: Balance | None = None


class Act(msgspec.Struct, frozen=True):
    """An entry of the log, as it was hashed; `hash` in hex."""

    seq: int
    at: str
    action: str
    actor: str
    actor_id: str | None
    actor_member: str | None
    subject: str
    member: str | None
    details: str
    hash: str


class Acts(msgspec.Struct, frozen=True):
    data: tuple[Act, ...]
    before: int | None = None


class SignedHead(msgspec.Struct, frozen=True):
    """A signed head of the log; root and signature in hex."""

    size: int
    root: str
    at: str
    public_key: str
    signature: str


class SignedHeads(msgspec.Struct, frozen=True):
    """Heads, newest first, the key that the gateway signs with, and what it signed last."""

    public_key: str
    data: tuple[SignedHead, ...]
    remembered: SignedHead | None = None
    before: int | None = None


__all__ = ["Act", "Acts", "Joined", "MadeInvite", "Me", "SignedHead", "SignedHeads"]
