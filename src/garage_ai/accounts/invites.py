"""Invites: the right to become a member, once or a few times, for a while."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.accounts.errors import (
    IdempotencyConflict,
    InvalidField,
    InvalidInvite,
    InviteExpired,
    InviteNotFound,
    InviteRevoked,
    InviteUsed,
)
from garage_ai.accounts.fields import checked_idempotency_key, checked_name
from garage_ai.accounts.keys import add_key, get_key
from garage_ai.accounts.limit_book import write_limits
from garage_ai.accounts.limit_models import NONE, LimitSettings, subject_of
from garage_ai.accounts.listing import read_page
from garage_ai.accounts.members import get_member, insert_member, require_member
from garage_ai.accounts.models import Invite, IssuedInvite, Joined, Key, Member, TakenInvite
from garage_ai.accounts.secrets import (
    INVITE_PREFIX,
    KEY_PREFIX,
    digest_of,
    hash_of,
    new_secret,
    token_secret,
)
from garage_ai.audit.models import GATEWAY, Action, Actor, Clock, Entry, utc_now
from garage_ai.audit.service import AuditLog
from garage_ai.storage import OPERATOR, InviteId, KeyId, MemberId, Storage
from garage_ai.storage.ids import new_invite_id, new_key_id, new_member_id
from garage_ai.storage.tables import invited, invites

INVITE_LIFE: Final = timedelta(days=7)
"""Long enough for a person who reads mail at the weekend."""

LONGEST_LIFE: Final = timedelta(days=365)
MOST_USES: Final = 1000
FIRST_KEY: Final = "first key"


class Invites:
    """Make invites, let people in by them, revoke what is left."""

    def __init__(
        self, storage: Storage, clock: Clock = utc_now, *, limits: LimitSettings = NONE
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._limits = limits
        self._log = AuditLog(storage, clock)

    async def create(
        self,
        member: MemberId = OPERATOR,
        name: str | None = None,
        uses: int = 1,
        ttl: timedelta = INVITE_LIFE,
        *,
        idempotency_key: str | None = None,
        by: Actor = GATEWAY,
    ) -> IssuedInvite:
        """Make an invite from `member`; its secret is given this one time.

        `name` is what a newcomer is called who gives no other. Called again with the same member
        and idempotency key it gives the same invite, without the secret.
        Raises: InvalidField, MemberNotFound, IdempotencyConflict, StorageError.
        """
        if not timedelta() < ttl <= LONGEST_LIFE:
            raise InvalidField("ttl", f"more than nothing and at most {LONGEST_LIFE.days} days")
        if not 1 <= uses <= MOST_USES:
            raise InvalidField("uses", f"1 to {MOST_USES}")
        now = self._clock()
        called = checked_name(name) if name is not None else None
        invite = Invite(new_invite_id(), member, called, uses, 0, now, now + ttl)
        secret = new_secret(INVITE_PREFIX)
        earlier = await self._insert(invite, secret, checked_idempotency_key(idempotency_key), by)
        if earlier is None:
            return IssuedInvite(invite, secret)
        if _asked(earlier) != _asked(invite):
            raise IdempotencyConflict("that idempotency key has made another invite")
        return IssuedInvite(earlier, None)

    async def accept(
        self, presented: str, name: str | None = None, *, idempotency_key: str | None = None
    ) -> Joined:
        """Become a member with a first key, both or neither; the key's secret is given once.

        Of more callers at once than an invite has uses, as many succeed as it has. Called again
        with the same idempotency key it gives the same member and key, without the secret.
        Raises: InvalidInvite and its leaves, InvalidField, StorageError.
        """
        same_call = checked_idempotency_key(idempotency_key)
        # Anybody may ask, and whoever has no invite is not to keep others from their turn.
        async with self._storage.read() as connection:
            await _find(connection, presented)
        async with self._storage.write(in_turn=True) as connection:
            invite = await _find(connection, presented)
            earlier = await _joined(connection, invite.id, same_call)
            if earlier is not None:
                return earlier
            now = self._clock()
            if (await get_member(connection, invite.member)).suspended_at is not None:
                raise InviteRevoked("whoever gave this invite is suspended")
            await _use(connection, invite, now)
            called = checked_name(name or invite.name or "")
            member = Member(new_member_id(), called, now)
            key = Key(
                new_key_id(), member.id, FIRST_KEY, frozenset({"inference", "member"}), None, now
            )
            secret = new_secret(KEY_PREFIX)
            await insert_member(connection, member)
            await add_key(connection, key, hash_of(secret))
            if not self._limits.is_empty:
                await write_limits(connection, subject_of(key.id), self._limits, is_new=True)
            await connection.execute(
                insert(invited).values(
                    member_id=member.id,
                    invite_id=invite.id,
                    key_id=key.id,
                    idempotency_key=same_call,
                )
            )
            by = Actor("invite", invite.id, invite.member)
            details = {"key": key.id}
            entry = Entry(Action.INVITE_ACCEPTED, by, member.id, member.id, details)
            await self._log.record(connection, entry)
        return Joined(member, key, secret)

    async def revoke(self, invite: InviteId, *, by: Actor = GATEWAY) -> Invite:
        """Make an invite useless; who came by it stays. Raises: InviteNotFound, StorageError."""
        this = invites.c.id == invite
        async with self._storage.write(in_turn=True) as connection:
            changed = await connection.execute(
                update(invites)
                .where(this, invites.c.revoked_at.is_(None))
                .values(revoked_at=self._clock())
            )
            row = (await connection.execute(select(invites).where(this))).one_or_none()
            if row is None:
                raise InviteNotFound(f"no invite {invite!r}")
            revoked = _invite(row)
            if changed.rowcount:
                entry = Entry(Action.INVITE_REVOKED, by, invite, revoked.member)
                await self._log.record(connection, entry)
        return revoked

    async def list(self, limit: int | None = None, after: InviteId | None = None) -> list[Invite]:
        """Give all invites, oldest first, or `limit` of them from behind one.

        Raises: InviteNotFound, StorageError.
        """
        async with self._storage.read() as connection:
            rows = await read_page(connection, select(invites), limit, after, InviteNotFound)
        return [_invite(row) for row in rows]

    async def given_by(self, member: MemberId) -> Sequence[Invite]:
        """Give the invites from a member, oldest first. Raises: StorageError."""
        given = select(invites).where(invites.c.member_id == member)
        async with self._storage.read() as connection:
            rows = await connection.execute(given.order_by(invites.c.created_at))
            return [_invite(row) for row in rows]

    async def taken_by(self, member: MemberId) -> Sequence[TakenInvite]:
        """Give the invite by which a member came, if it came by one. Raises: StorageError."""
        taken = select(invites, invited.c.key_id).join(invited, invited.c.invite_id == invites.c.id)
        async with self._storage.read() as connection:
            rows = await connection.execute(taken.where(invited.c.member_id == member))
            return [_taken(row) for row in rows]

    async def _insert(
        self, invite: Invite, secret: str, idempotency_key: str | None, by: Actor
    ) -> Invite | None:
        """Insert an invite; an earlier one with its idempotency key is given back instead."""
        values = {
            "id": invite.id,
            "member_id": invite.member,
            "name": invite.name,
            "digest": digest_of(INVITE_PREFIX, secret),
            "uses": invite.uses,
            "used": 0,
            "created_at": invite.created_at,
            "expires_at": invite.expires_at,
            "idempotency_key": idempotency_key,
        }
        same_call = (invites.c.member_id == invite.member) & (
            invites.c.idempotency_key == idempotency_key
        )
        async with self._storage.write(in_turn=True) as connection:
            await require_member(connection, invite.member, active=True)
            result = await connection.execute(self._storage.insert_new(invites).values(values))
            if not result.rowcount:
                return _invite((await connection.execute(select(invites).where(same_call))).one())
            entry = Entry(Action.INVITE_MADE, by, invite.id, invite.member, {"uses": invite.uses})
            await self._log.record(connection, entry)
            return None


async def _find(connection: AsyncConnection, presented: str) -> Invite:
    """Find the invite that a secret belongs to, whatever its state. Raises: InvalidInvite."""
    digest = digest_of(INVITE_PREFIX, token_secret(presented))
    if digest is None:
        raise InvalidInvite("not an invite of this network")
    row = (
        await connection.execute(select(invites).where(invites.c.digest == digest))
    ).one_or_none()
    if row is None:
        raise InvalidInvite("no such invite")
    return _invite(row)


async def _use(connection: AsyncConnection, invite: Invite, now: datetime) -> None:
    """Count one use. Raises: InviteUsed, InviteRevoked, InviteExpired."""
    # One statement decides, so that no two callers can both have read "open" and go on.
    result = await connection.execute(
        update(invites)
        .where(
            invites.c.id == invite.id,
            invites.c.used < invites.c.uses,
            invites.c.revoked_at.is_(None),
            invites.c.expires_at > now,
        )
        .values(used=invites.c.used + 1)
    )
    if result.rowcount == 1:
        return
    match invite.state(now):
        case "revoked":
            raise InviteRevoked("this invite was revoked")
        case "expired":
            raise InviteExpired("this invite has expired")
        case _:
            raise InviteUsed("as many have come by this invite as may")


async def _joined(
    connection: AsyncConnection, invite: InviteId, idempotency_key: str | None
) -> Joined | None:
    """Give what an earlier call with the same idempotency key made."""
    if idempotency_key is None:
        return None
    made = (invited.c.invite_id == invite) & (invited.c.idempotency_key == idempotency_key)
    row = (await connection.execute(select(invited).where(made))).one_or_none()
    if row is None:
        return None
    member = await get_member(connection, MemberId(row.member_id))
    return Joined(member, await get_key(connection, KeyId(row.key_id)), None)


def _asked(invite: Invite) -> tuple[str | None, int, timedelta]:
    """Give what a caller asked for, to tell another wish from the same one once more."""
    return (invite.name, invite.uses, invite.expires_at - invite.created_at)


def _invite(row: Row[tuple[object, ...]]) -> Invite:
    fields = row._asdict()
    del fields["digest"], fields["idempotency_key"]
    fields["member"] = fields.pop("member_id")
    return Invite(**fields)


def _taken(row: Row[tuple[object, ...]]) -> TakenInvite:
    return TakenInvite(InviteId(row.id), row.name, row.created_at, KeyId(row.key_id))


__all__ = ["INVITE_LIFE", "MOST_USES", "Invites"]
