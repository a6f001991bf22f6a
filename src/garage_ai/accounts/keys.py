"""Keys in the database; `KeyRing` holds them in memory."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Row, func, insert, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.accounts.administrators import require_another_admin
from garage_ai.accounts.bounds import require_room
from garage_ai.accounts.errors import IdempotencyConflict, KeyNotFound
from garage_ai.accounts.limit_book import told, write_limits
from garage_ai.accounts.limit_models import NONE, LimitSettings, subject_of
from garage_ai.accounts.listing import read_page
from garage_ai.accounts.members import require_member
from garage_ai.accounts.models import Key
from garage_ai.audit.models import Action, Actor, Entry
from garage_ai.audit.service import AuditLog
from garage_ai.storage import KeyId, MemberId, Storage
from garage_ai.storage.tables import audit, keys, members

_KEYS: Final = select(keys, members.c.suspended_at).join(members)
_OF_KEYS: Final = (
    Action.KEY_MADE,
    Action.KEY_REVOKED,
    Action.ADMIN_KEY_MADE,
    Action.ADMIN_KEY_REPLACED,
)
"""Acts of which the subject is a key."""
_OF_MEMBERS: Final = (
    Action.INVITE_ACCEPTED,
    Action.MEMBER_SUSPENDED,
    Action.MEMBER_RESUMED,
    Action.MEMBER_ERASED,
)
"""Acts that change which keys a member has, or what they may do."""


@dataclass(frozen=True, slots=True)
class Census:
    """How many keys there are, how many of them are revoked, and how much else was done.

    Keys are never deleted and never come back from revocation; a member may be suspended and
    resumed, and each time the log of acts grows by one. So two equal counts mean that nothing has
    changed, without any clock, and of two others the log tells what has.
    """

    keys: int
    revoked: int
    acts: int


async def count_keys(storage: Storage) -> Census:
    """Count the keys. Raises: StorageError."""
    async with storage.read() as connection:
        return await _census(connection)


async def load_changed(storage: Storage, before: Census) -> tuple[Census, list[tuple[bytes, Key]]]:
    """Give the keys that acts since a census were about, as `load_keys` gives all.

    Most acts are about none, and to load all keys for each would keep requests waiting.
    Raises: StorageError.
    """
    async with storage.read() as connection:
        census = await _census(connection)
        since = (audit.c.seq > before.acts) & (audit.c.seq <= census.acts)
        named = select(audit.c.subject).where(since, audit.c.action.in_(_OF_KEYS))
        theirs = select(audit.c.member).where(since, audit.c.action.in_(_OF_MEMBERS))
        about = or_(keys.c.id.in_(named), keys.c.member_id.in_(theirs))
        found = await connection.execute(_KEYS.where(about))
        return census, [(row.digest, _key(row)) for row in found]


async def load_keys(storage: Storage) -> tuple[Census, list[tuple[bytes, Key]]]:
    """Give all keys with the SHA-256 of their secrets, oldest first. Raises: StorageError."""
    wanted = _KEYS.order_by(keys.c.created_at, keys.c.id)
    async with storage.read() as connection:
        census = await _census(connection)
        return census, [(row.digest, _key(row)) for row in await connection.execute(wanted)]


async def list_keys(
    storage: Storage, of: MemberId | None, limit: int | None, after: KeyId | None
) -> list[Key]:
    """Give all keys, or one member's, oldest first, or `limit` of them from behind one.

    Raises: KeyNotFound, StorageError.
    """
    wanted = _KEYS if of is None else _KEYS.where(keys.c.member_id == of)
    async with storage.read() as connection:
        rows = await read_page(connection, wanted, limit, after, KeyNotFound)
    return [_key(row) for row in rows]


async def insert_key(
    storage: Storage,
    key: Key,
    digest: bytes,
    idempotency_key: str | None,
    *,
    by: Actor,
    action: Action = Action.KEY_MADE,
    limits: LimitSettings = NONE,
) -> Key | None:
    """Insert a key; None means that it is new, a key that it was there already.

    It is there when the same idempotency key made it, or when the same secret is registered.

    Raises: MemberNotFound, IdempotencyConflict, TooManyMade, StorageError.
    """
    values = _values(key, digest) | {"idempotency_key": idempotency_key}
    async with storage.write(in_turn=True) as connection:
        await require_member(connection, key.member, active=True)
        result = await connection.execute(storage.insert_new(keys).values(values))
        if result.rowcount:
            await require_room(
                connection, keys, keys.c.revoked_at.is_(None), key.member, key.created_at
            )
            details = {"scopes": " ".join(sorted(key.scopes)), **told(NONE, limits)}
            entry = Entry(action, by, key.id, key.member, details)
            await AuditLog(storage).record(connection, entry)
            if not limits.is_empty:
                await write_limits(connection, subject_of(key.id), limits, is_new=True)
            return None
        earlier = await _earlier(connection, key.member, idempotency_key, digest)
    asked = (key.name, key.scopes, key.region)
    if idempotency_key is not None and asked != (earlier.name, earlier.scopes, earlier.region):
        raise IdempotencyConflict("that idempotency key has made another key")
    return earlier


async def add_key(connection: AsyncConnection, key: Key, digest: bytes) -> None:
    """Insert a key that cannot be there yet, in the caller's transaction."""
    await connection.execute(insert(keys).values(_values(key, digest)))


async def get_key(connection: AsyncConnection, key: KeyId) -> Key:
    """Give one key in the caller's transaction."""
    return _key((await connection.execute(_KEYS.where(keys.c.id == key))).one())


async def revoke_key(
    storage: Storage, key: KeyId, now: datetime, by: Actor, of: MemberId | None = None
) -> Key:
    """Revoke a key; once more changes nothing. With `of`, another member's is not there.

    Raises: KeyNotFound, LastAdminKey, StorageError.
    """
    mine = (keys.c.id == key) & ((keys.c.member_id == of) if of else true())
    async with storage.write(in_turn=True) as connection:
        row = (await connection.execute(_KEYS.where(mine))).one_or_none()
        if row is None:
            raise KeyNotFound(f"no key {key!r}")
        before = _key(row)
        if before.revoked_at is not None:
            return before
        await require_another_admin(connection, by, keys.c.id == key, now)
        await connection.execute(update(keys).where(mine).values(revoked_at=now))
        entry = Entry(Action.KEY_REVOKED, by, key, before.member)
        await AuditLog(storage).record(connection, entry)
        return replace(before, revoked_at=now)


async def _census(connection: AsyncConnection) -> Census:
    acts = select(func.coalesce(func.max(audit.c.seq), 0)).scalar_subquery()
    counts = select(func.count(), func.count(keys.c.revoked_at), acts).select_from(keys)
    return Census(*(await connection.execute(counts)).one())


async def _earlier(
    connection: AsyncConnection, member: MemberId, idempotency_key: str | None, digest: bytes
) -> Key:
    same = keys.c.digest == digest
    if idempotency_key is not None:
        same = (keys.c.member_id == member) & (keys.c.idempotency_key == idempotency_key)
    return _key((await connection.execute(_KEYS.where(same))).one())


def _values(key: Key, digest: bytes) -> dict[str, object]:
    return {
        "id": key.id,
        "member_id": key.member,
        "name": key.name,
        "scopes": " ".join(sorted(key.scopes)),
        "region": key.region,
        "digest": digest,
        "created_at": key.created_at,
    }


def _key(row: Row[tuple[object, ...]]) -> Key:
    fields = row._asdict()
    del fields["digest"], fields["idempotency_key"]
    fields["member"] = fields.pop("member_id")
    fields["scopes"] = frozenset(fields["scopes"].split())
    fields["suspended"] = fields.pop("suspended_at") is not None
    return Key(**fields)
