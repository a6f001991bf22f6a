"""What the edge needs of accounts and the log of acts, as protocols."""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import timedelta
from typing import Protocol

from garage_ai.accounts import (
    EnrolmentToken,
    Invite,
    InviteId,
    IssuedInvite,
    IssuedKey,
    IssuedToken,
    Joined,
    Key,
    KeyId,
    LimitSettings,
    Member,
    MemberId,
    Scope,
    TokenId,
)
from garage_ai.audit.models import Actor, Entry, Head, Recorded
from garage_ai.audit.service import Wanted


class Members(Protocol):
    """Members."""

    async def add(self, name: str, *, by: Actor = ...) -> Member:
        """Make a member. Raises: InvalidField."""
        ...

    async def get(self, member: MemberId) -> Member:
        """Give one member. Raises: MemberNotFound."""
        ...

    async def list(self, limit: int | None = None, after: MemberId | None = None) -> list[Member]:
        """Give all members, or so many behind one. Raises: MemberNotFound."""
        ...

    async def suspend(self, member: MemberId, *, by: Actor = ...) -> Member:
        """Let a member's keys do nothing. Raises: AccountError."""
        ...

    async def resume(self, member: MemberId, *, by: Actor = ...) -> Member:
        """Undo that. Raises: AccountError."""
        ...

    async def may_erase(self, member: MemberId, name: str, *, by: Actor = ...) -> None:
        """Refuse what `erase` would. Raises: AccountError."""

    async def erase(self, member: MemberId, name: str, *, by: Actor = ...) -> Member:
        """Forget who a member was. Raises: AccountError."""
        ...


class Invites(Protocol):
    """The right to become a member."""

    async def create(
        self,
        member: MemberId,
        name: str | None,
        uses: int,
        ttl: timedelta,
        *,
        idempotency_key: str | None = None,
        by: Actor = ...,
    ) -> IssuedInvite:
        """Make an invite. Raises: AccountError."""
        ...

    async def accept(
        self, presented: str, name: str | None = None, *, idempotency_key: str | None = None
    ) -> Joined:
        """Become a member. Raises: InvalidInvite, InvalidField."""
        ...

    async def revoke(self, invite: InviteId, *, by: Actor = ...) -> Invite:
        """Make an invite useless. Raises: InviteNotFound."""
        ...

    async def list(self, limit: int | None = None, after: InviteId | None = None) -> list[Invite]:
        """Give all invites, or so many behind one. Raises: InviteNotFound."""
        ...


class Keys(Protocol):
    """API keys."""

    @property
    def reachable(self) -> bool:
        """Whether the database could be read the last time."""

    def authenticate(self, presented: str) -> Key:
        """Tell whose key it is. Raises: InvalidKey."""
        ...

    async def create(
        self,
        name: str,
        member: MemberId = ...,
        scopes: Iterable[Scope] = ...,
        *,
        region: str | None = None,
        limits: LimitSettings = ...,
        idempotency_key: str | None = None,
        by: Actor = ...,
    ) -> IssuedKey:
        """Make a key. Raises: AccountError."""
        ...

    async def revoke(self, key: KeyId, *, of: MemberId | None = None, by: Actor = ...) -> Key:
        """Revoke a key, of one member if that is named. Raises: KeyNotFound, LastAdminKey."""
        ...

    async def list(
        self, of: MemberId | None = None, limit: int | None = None, after: KeyId | None = None
    ) -> list[Key]:
        """Give all keys, or one member's, or so many behind one. Raises: KeyNotFound."""
        ...

    async def refresh(self) -> None:
        """Take over at once what was changed past the ring: members come, go and are suspended."""


class Tokens(Protocol):
    """Enrolment tokens."""

    async def create(
        self,
        member: MemberId = ...,
        region: str | None = None,
        ttl: timedelta = ...,
        *,
        bare_allowed: bool = False,
        idempotency_key: str | None = None,
        by: Actor = ...,
    ) -> IssuedToken:
        """Make a token. Raises: AccountError."""
        ...

    async def revoke(
        self, token: TokenId, *, of: MemberId | None = None, by: Actor = ...
    ) -> EnrolmentToken:
        """Make a token useless, of one member if that is named. Raises: TokenNotFound."""
        ...

    async def list(
        self, of: MemberId | None = None, limit: int | None = None, after: TokenId | None = None
    ) -> list[EnrolmentToken]:
        """Give all tokens, or one member's, or so many behind one. Raises: TokenNotFound."""
        ...


class Audit(Protocol):
    """The log of who did what."""

    async def append(self, entry: Entry) -> Recorded:
        """Record an act that happens outside of the database."""
        ...

    async def latest(
        self, limit: int = ..., before: int | None = None, wanted: Wanted | None = None
    ) -> Sequence[Recorded]:
        """Give entries, newest first."""
        ...

    async def following(
        self, after: int = 0, limit: int = ..., wanted: Wanted | None = None
    ) -> Sequence[Recorded]:
        """Give entries, oldest first."""
        ...

    async def latest_heads(self, limit: int = ..., before: int | None = None) -> Sequence[Head]:
        """Give signed heads, the largest first."""
        ...

    async def head(self) -> Head | None:
        """Give the newest signed head."""
        ...


class OwnData(Protocol):
    """All that is kept of a member."""

    def export(self, member: MemberId) -> AsyncIterator[bytes]:
        """Write it as JSON, piece by piece."""
        ...


__all__ = ["Audit", "Invites", "Keys", "Members", "OwnData", "Tokens"]
