"""All keys of the network in memory: a request is authenticated without waiting for SQL."""

import asyncio
import hmac
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Final, Self

import structlog

from garage_ai.accounts import admin_key
from garage_ai.accounts.errors import AdminKeyUnusable, InvalidKey, RevokedKey
from garage_ai.accounts.fields import (
    checked_idempotency_key,
    checked_name,
    checked_region,
    checked_scopes,
)
from garage_ai.accounts.keys import Census, count_keys, insert_key, load_keys, revoke_key
from garage_ai.accounts.models import SCOPES, Clock, IssuedKey, Key, Scope, utc_now
from garage_ai.accounts.secrets import (
    KEY_PREFIX,
    digest_of,
    hash_of,
    is_well_formed,
    new_secret,
)
from garage_ai.storage import OPERATOR, KeyId, MemberId, Storage, StorageError
from garage_ai.storage.ids import new_key_id

_log = structlog.get_logger(__name__)

REFRESH_SECONDS: Final = 0.8
"""How often other processes' changes are looked for; with the look itself, within a second."""

LOOK_SECONDS: Final = 0.2
"""Least time between two looks, however many unknown keys are presented."""

_CLOSE_SECONDS: Final = 5.0


class KeyRing:
    """Authenticate keys, make them and revoke them.

    A revocation works at once in this process and within a second in others. While the database
    cannot be read the ring fails open: known keys go on working, revocations of other processes
    come when it is back; `failures` counts such looks. All methods belong to the event loop.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        on_use: Callable[[KeyId, datetime], None] | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self.failures = 0
        self._storage = storage
        self._on_use = on_use
        self._clock = clock
        self._keys: dict[bytes, tuple[bytes, Key]] = {}
        self._census = Census(0, 0)
        self._wanted = asyncio.Event()
        # A look that began before a revocation must not end after it and bring the key back.
        self._changing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        storage: Storage,
        *,
        on_use: Callable[[KeyId, datetime], None] | None = None,
        clock: Clock = utc_now,
    ) -> Self:
        """Load all keys and start to look for changes; `close` ends that.

        `on_use` hears of every successful authentication (`UsageWriter.touch_key` fits).
        Raises: StorageError.
        """
        ring = cls(storage, on_use=on_use, clock=clock)
        await ring._load()
        ring._task = asyncio.create_task(ring._watch(), name="key-ring")
        return ring

    async def close(self) -> None:
        """Stop looking for changes."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_CLOSE_SECONDS)

    def authenticate(self, presented: str) -> Key:
        """Tell whose key this is, from memory. Raises: InvalidKey, RevokedKey."""
        # What is known was well-formed; the checksum, which costs more, is for what is not.
        found = hash_of(presented)
        entry = self._keys.get(found)
        if entry is None or not hmac.compare_digest(entry[0], found):
            if not is_well_formed(KEY_PREFIX, presented):
                raise InvalidKey("not a key of this network")
            self._wanted.set()  # another process may have made it a moment ago
            raise InvalidKey("no such key")
        key = entry[1]
        if key.revoked_at is not None:
            raise RevokedKey("this key was revoked")
        if self._on_use is not None:
            self._on_use(key.id, self._clock())
        return key

    async def refresh(self) -> None:
        """Take over what other processes changed. Raises: StorageError."""
        async with self._changing:
            if await count_keys(self._storage) != self._census:
                await self._load()

    async def create(
        self,
        name: str,
        member: MemberId = OPERATOR,
        scopes: Iterable[Scope] = ("inference",),
        *,
        region: str | None = None,
        idempotency_key: str | None = None,
    ) -> IssuedKey:
        """Make a key; its secret is given this one time.

        `region` keeps the key's requests within it. Called again with the same member and
        idempotency key it gives the same key, without the secret.
        Raises: InvalidField, MemberNotFound, IdempotencyConflict, StorageError.
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
        earlier = await self._insert(key, secret, checked_idempotency_key(idempotency_key))
        return IssuedKey(key, secret) if earlier is None else IssuedKey(earlier, None)

    async def revoke(self, key: KeyId) -> Key:
        """Revoke a key for good. Raises: KeyNotFound, StorageError."""
        async with self._changing:
            revoked = await revoke_key(self._storage, key, self._clock())
            for digest, known in self._keys.values():
                if known.id == key:
                    self._keys[digest] = (digest, revoked)
                    break
            self._count()
            return revoked

    async def list(self) -> list[Key]:
        """Give all keys, revoked ones too, oldest first. Raises: StorageError."""
        return [key for _, key in await load_keys(self._storage)]

    async def ensure_admin_key(self, path: Path) -> str:
        """Give the admin key that `path` holds, made and registered where it is missing.

        A key that was revoked is replaced, in the file too.
        Raises: AdminKeyUnusable, StorageError.
        """
        secret = await asyncio.to_thread(admin_key.read_or_make, path)
        key = await self._adopt(secret)
        if key.revoked_at is not None:
            secret = await asyncio.to_thread(admin_key.replace, path)
            key = await self._adopt(secret)
        if "admin" not in key.scopes:
            raise AdminKeyUnusable(f"{path}: the key in it has no admin scope; move the file away")
        return secret

    async def _adopt(self, secret: str) -> Key:
        key = Key(new_key_id(), OPERATOR, "admin key", SCOPES, None, self._clock())
        return await self._insert(key, secret, None) or key

    async def _insert(self, key: Key, secret: str, idempotency_key: str | None) -> Key | None:
        digest = digest_of(KEY_PREFIX, secret)
        if digest is None:
            raise AssertionError("a secret made or checked by this package has no digest")
        async with self._changing:
            earlier = await insert_key(self._storage, key, digest, idempotency_key)
            if earlier is None:
                self._keys[digest] = (digest, key)
                self._count()
            else:
                await self._load()
            return earlier

    async def _load(self) -> None:
        self._keys = {digest: (digest, key) for digest, key in await load_keys(self._storage)}
        self._count()

    def _count(self) -> None:
        revoked = sum(key.revoked_at is not None for _, key in self._keys.values())
        self._census = Census(len(self._keys), revoked)

    async def _watch(self) -> None:
        failing = False
        while True:
            try:
                async with asyncio.timeout(REFRESH_SECONDS - LOOK_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            failing = not await self._look(quiet=failing)
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self, *, quiet: bool) -> bool:
        try:
            await self.refresh()
        except Exception as error:  # a watch that died would never hear of a revocation again
            self.failures += 1
            if not quiet:
                code = error.code if isinstance(error, StorageError) else type(error).__name__
                _log.warning("keys_not_refreshed", code=code)
            return False
        return True
