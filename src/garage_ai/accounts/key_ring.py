"""All keys of the network in memory: a request is authenticated without waiting for SQL."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Self

from garage_ai.accounts import admin_key
from garage_ai.accounts.errors import AdminKeyUnusable, InvalidKey, MemberSuspended, RevokedKey
from garage_ai.accounts.fields import (
    checked_idempotency_key,
    checked_name,
    checked_region,
    checked_scopes,
)
from garage_ai.accounts.keys import (
    Census,
    count_keys,
    insert_key,
    list_keys,
    load_changed,
    load_keys,
    revoke_key,
)
from garage_ai.accounts.limit_fields import checked_settings
from garage_ai.accounts.limit_models import NONE, LimitSettings
from garage_ai.accounts.models import SCOPES, IssuedKey, Key, Scope
from garage_ai.accounts.secrets import (
    KEY_PREFIX,
    digest_of,
    hash_of,
    is_well_formed,
    new_secret,
)
from garage_ai.audit.models import GATEWAY, Action, Actor, Clock, utc_now
from garage_ai.storage import OPERATOR, KeyId, MemberId, Storage
from garage_ai.storage.ids import new_key_id
from garage_ai.storage.watch import Watch


class KeyRing:
    """Authenticate keys, make them and revoke them.

    A revocation works at once in this process and within a second in others. While the database
    cannot be read the ring fails open: known keys go on working, revocations of other processes
    come when it is back; `failures` counts such looks, `reachable` tells of the last one. All
    methods belong to the event loop.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        on_use: Callable[[KeyId, datetime], None] | None = None,
        limits: Callable[[], Awaitable[None]] | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self._storage = storage
        self._limits = limits
        self._on_use = on_use
        self._clock = clock
        self._keys: dict[bytes, tuple[bytes, Key]] = {}
        self._by_id: dict[KeyId, Key] = {}
        self._census = Census(0, 0, 0)
        # A look that began before a revocation must not end after it and bring the key back.
        self._changing = asyncio.Lock()
        self._watch = Watch(self.refresh, "keys")

    @classmethod
    async def open(
        cls,
        storage: Storage,
        *,
        on_use: Callable[[KeyId, datetime], None] | None = None,
        limits: Callable[[], Awaitable[None]] | None = None,
        clock: Clock = utc_now,
    ) -> Self:
        """Load all keys and start to look for changes; `close` ends that.

        `on_use` hears of every successful authentication (`LastSeen.key` fits). `limits` is called
        before keys from elsewhere work, to know theirs (`LimitBook.refresh`). Raises: StorageError.
        """
        ring = cls(storage, on_use=on_use, limits=limits, clock=clock)
        await ring._load()
        ring._watch.start()
        return ring

    async def close(self) -> None:
        """Stop looking for changes."""
        await self._watch.close()

    @property
    def failures(self) -> int:
        """How many looks failed."""
        return self._watch.failures

    @property
    def reachable(self) -> bool:
        """Whether the database could be read when it was last looked at."""
        return not self._watch.failing

    def authenticate(self, presented: str) -> Key:
        """Tell whose key this is, from memory. Raises: InvalidKey, RevokedKey, MemberSuspended."""
        # What is known was well-formed; the checksum, which costs more, is for what is not.
        found = hash_of(presented)
        entry = self._keys.get(found)
        if entry is None or not hmac.compare_digest(entry[0], found):
            if not is_well_formed(KEY_PREFIX, presented):
                raise InvalidKey("not a key of this network")
            self._watch.wake()  # another process may have made it a moment ago
            raise InvalidKey("no such key")
        key = _working(entry[1])
        if self._on_use is not None:
            self._on_use(key.id, self._clock())
        return key

    def find(self, key: KeyId) -> Key:
        """Give a key that still works, for what its owner left to be done.

        Raises: InvalidKey, RevokedKey, MemberSuspended.
        """
        found = self._by_id.get(key)
        if found is None:
            raise InvalidKey("no such key")
        return _working(found)

    async def refresh(self) -> None:
        """Take over what other processes changed. Raises: StorageError."""
        async with self._changing:
            await self._take_over()

    async def create(
        self,
        name: str,
        member: MemberId = OPERATOR,
        scopes: Iterable[Scope] = ("inference",),
        *,
        region: str | None = None,
        limits: LimitSettings = NONE,
        idempotency_key: str | None = None,
        by: Actor = GATEWAY,
    ) -> IssuedKey:
        """Make a key; its secret is given this one time.

        `region` keeps the key's requests within it; `limits` hold from the first one. Called again
        with the same member and idempotency key it gives the same key, without the secret.
        Raises: InvalidField, MemberNotFound, IdempotencyConflict, TooManyMade, StorageError.
        """
        key = Key(
            new_key_id(),
            member,
            checked_name(name),
            checked_scopes(scopes),
            checked_region(region),
            self._clock(),
        )
        secret = new_secret(KEY_PREFIX)
        earlier = await self._insert(
            key,
            secret,
            checked_idempotency_key(idempotency_key),
            by,
            limits=checked_settings(limits),
        )
        return IssuedKey(key, secret) if earlier is None else IssuedKey(earlier, None)

    async def revoke(self, key: KeyId, *, of: MemberId | None = None, by: Actor = GATEWAY) -> Key:
        """Revoke a key for good. With `of`, another member's is not there.

        Raises: KeyNotFound, LastAdminKey, StorageError.
        """
        async with self._changing:
            revoked = await revoke_key(self._storage, key, self._clock(), by, of)
            for digest, known in self._keys.values():
                if known.id == key:
                    self._put(digest, revoked)
                    break
            return revoked

    async def list(
        self, of: MemberId | None = None, limit: int | None = None, after: KeyId | None = None
    ) -> list[Key]:
        """Give all keys, or one member's, revoked ones too, or `limit` of them from behind one.

        Oldest first. Raises: KeyNotFound, StorageError.
        """
        return await list_keys(self._storage, of, limit, after)

    async def ensure_admin_key(self, path: Path) -> str:
        """Give the admin key that `path` holds, made and registered where it is missing.

        A key that was revoked is replaced, in the file too.
        Raises: AdminKeyUnusable, StorageError.
        """
        secret = await asyncio.to_thread(admin_key.read_or_make, path)
        key = await self._adopt(secret, Action.ADMIN_KEY_MADE)
        if key.revoked_at is not None:
            secret = await asyncio.to_thread(admin_key.replace, path)
            key = await self._adopt(secret, Action.ADMIN_KEY_REPLACED)
        if "admin" not in key.scopes:
            raise AdminKeyUnusable(f"{path}: the key in it has no admin scope; move the file away")
        return secret

    async def _adopt(self, secret: str, action: Action) -> Key:
        key = Key(new_key_id(), OPERATOR, "admin key", SCOPES, None, self._clock())
        return await self._insert(key, secret, None, GATEWAY, action=action) or key

    async def _insert(
        self,
        key: Key,
        secret: str,
        idempotency_key: str | None,
        by: Actor,
        *,
        action: Action = Action.KEY_MADE,
        limits: LimitSettings = NONE,
    ) -> Key | None:
        digest = digest_of(KEY_PREFIX, secret)
        if digest is None:
            raise AssertionError("a secret made or checked by this package has no digest")
        async with self._changing:
            earlier = await insert_key(
                self._storage, key, digest, idempotency_key, by=by, action=action, limits=limits
            )
            if earlier is None:
                self._put(digest, key)
            else:
                await self._take_over()
            return earlier

    async def _take_over(self) -> None:
        """Load what acts have changed since the last look, or all where they do not tell it."""
        if await count_keys(self._storage) == self._census:
            return
        census, changed = await load_changed(self._storage, self._census)
        if changed:
            await self._heed_limits()
        for digest, key in changed:
            self._put(digest, key)
        if census.acts >= self._census.acts and self._counts == (census.keys, census.revoked):
            self._census = census
        else:
            await self._load()

    @property
    def _counts(self) -> tuple[int, int]:
        known = self._by_id.values()
        return len(known), sum(key.revoked_at is not None for key in known)

    async def _load(self) -> None:
        census, found = await load_keys(self._storage)
        await self._heed_limits()
        self._census = census
        self._keys = {digest: (digest, key) for digest, key in found}
        self._by_id = {key.id: key for _, key in found}

    async def _heed_limits(self) -> None:
        """Know the limits that were written with keys just read, before these work."""
        if self._limits is not None:
            await self._limits()

    def _put(self, digest: bytes, key: Key) -> None:
        self._keys[digest] = (digest, key)
        self._by_id[key.id] = key


def _working(key: Key) -> Key:
    """Give a key that may be used. Raises: RevokedKey, MemberSuspended."""
    if key.revoked_at is not None:
        raise RevokedKey("this key was revoked")
    if key.suspended:
        raise MemberSuspended("the member that this key belongs to is suspended")
    return key
