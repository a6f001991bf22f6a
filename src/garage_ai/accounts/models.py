"""What accounts know: members, and the keys, tokens, nodes and model names they own."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple, get_args

from garage_ai.storage import InviteId, KeyId, MemberId, TokenId
from garage_ai.wire.ids import Digest, NodeId

Scope = Literal["inference", "member", "admin", "usage"]
"""`member`: look after what is one's own; `admin`: after all; `usage`: tell of a proxy's calls."""

SCOPES: Final[frozenset[Scope]] = frozenset(get_args(Scope))

Trust = Literal["unverified", "unsandboxed"]
"""`unverified` until measured; `unsandboxed` where the engine has no sandbox."""

TokenState = Literal["open", "used", "revoked", "expired"]


@dataclass(frozen=True, slots=True)
class Member:
    """Whoever owns keys, tokens and nodes."""

    id: MemberId
    name: str
    created_at: datetime
    suspended_at: datetime | None = None
    erased_at: datetime | None = None

    @property
    def state(self) -> Literal["active", "suspended", "erased"]:
        """Say whether the member's keys work."""
        if self.erased_at is not None:
            return "erased"
        return "active" if self.suspended_at is None else "suspended"


@dataclass(frozen=True, slots=True)
class Key:
    """An API key without its secret; `suspended` tells of its member."""

    id: KeyId
    member: MemberId
    name: str
    scopes: frozenset[Scope]
    region: str | None
    created_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    suspended: bool = False


class IssuedKey(NamedTuple):
    """A new key; its secret is None where an earlier call of the same idempotency key had it."""

    key: Key
    secret: str | None


@dataclass(frozen=True, slots=True)
class EnrolmentToken:
    """The right to enrol one node, without its secret.

    With `bare_allowed_at` the node may serve without a whole sandbox.
    """

    id: TokenId
    member: MemberId
    region: str | None
    created_at: datetime
    expires_at: datetime
    redeemed_at: datetime | None = None
    redeemed_by: NodeId | None = None
    revoked_at: datetime | None = None
    bare_allowed_at: datetime | None = None

    def state(self, now: datetime) -> TokenState:
        """Say what the token is good for: `open` ones can be redeemed."""
        if self.redeemed_at is not None:
            return "used"
        if self.revoked_at is not None:
            return "revoked"
        return "open" if now < self.expires_at else "expired"


class IssuedToken(NamedTuple):
    """A new token; its secret is None where an earlier call of the same idempotency key had it."""

    token: EnrolmentToken
    secret: str | None


@dataclass(frozen=True, slots=True)
class Invite:
    """The right to become a member, without its secret; `name` is what the newcomer may be called.

    `member` is who invites; `uses` how many may come, `used` how many have.
    """

    id: InviteId
    member: MemberId
    name: str | None
    uses: int
    used: int
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None

    def state(self, now: datetime) -> TokenState:
        """Say what the invite is good for: `open` ones can be accepted."""
        if self.used >= self.uses:
            return "used"
        if self.revoked_at is not None:
            return "revoked"
        return "open" if now < self.expires_at else "expired"


class IssuedInvite(NamedTuple):
    """A new invite; its secret is None where an earlier call of the same idempotency key had it."""

    invite: Invite
    secret: str | None


@dataclass(frozen=True, slots=True)
class TakenInvite:
    """An invite as who came by it may see it; `key` is the first key that was made of it."""

    id: InviteId
    name: str | None
    created_at: datetime
    key: KeyId


class Joined(NamedTuple):
    """A new member with the first key, whose secret is None where an earlier call had it."""

    member: Member
    key: Key
    secret: str | None


@dataclass(frozen=True, slots=True)
class RetiredKey:
    """A public key that a node had before."""

    public_key: str
    retired_at: datetime


@dataclass(frozen=True, slots=True)
class Node:
    """A volunteer's PC as the accounts know it. The public key is an NKEY, `U…`.

    `trust` is what the node said of itself; `bare_allowed_at` is an administrator's word that it
    may serve without a whole sandbox; `suspended` tells of its member.
    """

    id: NodeId
    member: MemberId
    name: str
    public_key: str
    region: str | None
    trust: Trust
    created_at: datetime
    last_seen_at: datetime | None = None
    removed_at: datetime | None = None
    bare_allowed_at: datetime | None = None
    retired_keys: tuple[RetiredKey, ...] = ()
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class ExternalModel:
    """A member's claim to a model name for an engine of its own."""

    name: str
    member: MemberId
    digest: Digest
    created_at: datetime
    approved_at: datetime | None
    by_admin: bool

    @property
    def state(self) -> Literal["approved", "pending"]:
        """Say whether the model may be served under its name."""
        return "pending" if self.approved_at is None else "approved"
