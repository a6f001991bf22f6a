"""Keys in the database; `KeyRing` holds them in memory."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.accounts.errors import IdempotencyConflict, KeyNotFound
from garage_ai.accounts.members import require_member
from garage_ai.accounts.models import Key
from garage_ai.storage import KeyId, MemberId, Storage
from garage_ai.storage.tables import keys


@dataclass(frozen=True, slots=True)
class Census:
    """How many keys there are and how many of them are revoked.

    Keys are never deleted and never come back from revocation, so that two equal counts mean
    that nothing has changed, without any clock.
    """

    keys: int
    revoked: int


async def count_keys(storage: Storage) -> Census:
    """Count the keys. Raises: StorageError."""
    async with storage.read() as connection:
        row = (
            await connection.execute(
                select(func.count(), func.count(keys.c.revoked_at)).select_from(keys)
            )
        ).one()
    return Census(row[0], row[1])


async def load_keys(storage: Storage) -> list[tuple[bytes, Key]]:
    """Give all keys with the SHA-256 of their secrets, oldest first. Raises: StorageError."""
    async with storage.read() as connection:
        rows = await connection.execute(select(keys).order_by(keys.c.created_at, keys.c.id))
        return [(row.digest, _key(row)) for row in rows]


async def insert_key(
    storage: Storage, key: Key, digest: bytes, idempotency_key: str | None
) -> Key | None:
    """Insert a key; None means that it is new, a key that it was there already.

    It is there when the same idempotency key made it, or when the same secret is registered.

    Raises: MemberNotFound, IdempotencyConflict, StorageError.
    """
    values = {
        "id": key.id,
        "member_id": key.member,
        "name": key.name,
        "scopes": " ".join(sorted(key.scopes)),
        "region": key.region,
        "digest": digest,
        "created_at": key.created_at,
        "idempotency_key": idempotency_key,
    }
    async with storage.write() as connection:
        await require_member(connection, key.member)
        result = await connection.execute(storage.insert_new(keys).values(values))
        if result.rowcount:
            return None
        earlier = await _earlier(connection, key.member, idempotency_key, digest)
    asked = (key.name, key.scopes, key.region)
    if idempotency_key is not None and asked != (earlier.name, earlier.scopes, earlier.region):
        raise IdempotencyConflict("that idempotency key has made another key")
    return earlier


async def revoke_key(storage: Storage, key: KeyId, now: datetime) -> Key:
    """Revoke a key; once more changes nothing. Raises: KeyNotFound, StorageError."""
    async with storage.write() as connection:
        await connection.execute(
            update(keys).where(keys.c.id == key, keys.c.revoked_at.is_(None)).values(revoked_at=now)
        )
        row = (await connection.execute(select(keys).where(keys.c.id == key))).one_or_none()
    if row is None:
        raise KeyNotFound(f"no key {key!r}")
    return _key(row)


async def _earlier(
    connection: AsyncConnection, member: MemberId, idempotency_key: str | None, digest: bytes
) -> Key:
    same = keys.c.digest == digest
    if idempotency_key is not None:
        same = (keys.c.member_id == member) & (keys.c.idempotency_key == idempotency_key)
    return _key((await connection.execute(select(keys).where(same))).one())


def _key(row: Row[tuple[object, ...]]) -> Key:
    fields = row._asdict()
    del fields["digest"], fields["idempotency_key"]
    fields["member"] = fields.pop("member_id")
    fields["scopes"] = frozenset(fields["scopes"].split())
    return Key(**fields)
