"""The settings of limits: kept in SQL, known in memory."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Self

import msgspec
from sqlalchemy import Row, Table, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.accounts.administrators import require_another_admin
from garage_ai.accounts.errors import KeyNotFound, MemberNotFound, OperatorNeeded
from garage_ai.accounts.limit_fields import checked_settings
from garage_ai.accounts.limit_models import NONE, LimitSettings, Subject, subject_of
from garage_ai.accounts.limit_pools import StoredPools
from garage_ai.accounts.members import require_member
from garage_ai.accounts.windows import Dimension
from garage_ai.audit.models import GATEWAY, Action, Actor, Detail, Entry, utc_now
from garage_ai.audit.service import AuditLog
from garage_ai.storage import OPERATOR, KeyId, MemberId, Storage
from garage_ai.storage.tables import keys, limits, members
from garage_ai.storage.watch import Watch

LONGEST_TOLD: Final = 500
"""Characters of a list that stand in the log as they are; an entry has room for a few such."""


class LimitBook:
    """Who may use how much.

    A change works at once in this process and within a second in others. While the database cannot
    be read what was known goes on to hold; `failures` counts such looks.
    """

    def __init__(self, storage: Storage) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._storage = storage
        self._known: dict[Subject, LimitSettings] = {}
        self._revision = 0
        self._watch = Watch(self.refresh, "limits")

    @classmethod
    async def open(cls, storage: Storage) -> Self:
        """Load all settings and look for changes; `close` ends that. Raises: StorageError."""
        book = cls(storage)
        await book.refresh()
        book._watch.start()
        return book

    async def close(self) -> None:
        """Stop looking for changes."""
        await self._watch.close()

    @property
    def failures(self) -> int:
        """How many looks failed."""
        return self._watch.failures

    def of(self, owner: KeyId | MemberId) -> LimitSettings:
        """Give the settings of a key or a member, from memory."""
        return self._known.get(subject_of(owner), NONE)

    async def change_key(
        self, key: KeyId, changes: Mapping[str, object], *, by: Actor = GATEWAY
    ) -> LimitSettings:
        """Set the named limits and leave the others as they are; None takes one away.

        Raises: InvalidField, KeyNotFound, MemberErased, LastAdminKey, StorageError.
        """
        return await self._change(key, changes, keys, by)

    async def change_member(
        self, member: MemberId, changes: Mapping[str, object], *, by: Actor = GATEWAY
    ) -> LimitSettings:
        """Set limits of a member, which hold for all its keys together.

        Raises: InvalidField, MemberNotFound, MemberErased, OperatorNeeded, LastAdminKey,
        StorageError.
        """
        if member == OPERATOR and changes.get("expires_at") is not None:
            # Of its keys one is `admin.key`: nobody could take this back.
            raise OperatorNeeded("a network has an operator, whose keys do not all end")
        return await self._change(member, changes, members, by)

    async def used_by_key(self, key: KeyId) -> Mapping[Dimension, int]:
        """Tell what of each limit is used, as far as gateways have told.

        Raises: KeyNotFound, StorageError.
        """
        return await self._used(key, keys)

    async def used_by_member(self, member: MemberId) -> Mapping[Dimension, int]:
        """Tell what a member's keys have used together. Raises: MemberNotFound, StorageError."""
        return await self._used(member, members)

    async def _used(self, owner: KeyId | MemberId, table: Table) -> Mapping[Dimension, int]:
        async with self._storage.read() as connection:
            await _require(connection, table, owner)
        return await StoredPools(self._storage).used(subject_of(owner))

    async def _change(
        self, owner: KeyId | MemberId, changes: Mapping[str, object], table: Table, by: Actor
    ) -> LimitSettings:
        subject = subject_of(owner)
        # In turn, so that revisions are in the order of their commits and none is passed over.
        async with self._storage.write(in_turn=True) as connection:
            member = await _require(connection, table, owner)
            # Of one who was erased no region and no model is kept any more.
            await require_member(connection, MemberId(member))
            found = select(limits).where(limits.c.subject == subject)
            row = (await connection.execute(found)).one_or_none()
            before = NONE if row is None else _settings(row)
            after = checked_settings(replace(before, **changes))  # type: ignore[arg-type]
            if _ends_sooner(before, after):
                ending = (keys.c.member_id if table is members else keys.c.id) == owner
                await require_another_admin(connection, by, ending, utc_now(), after.expires_at)
            await write_limits(connection, subject, after, is_new=row is None)
            if after != before:
                action = Action.MEMBER_LIMITED if owner == member else Action.KEY_LIMITED
                entry = Entry(action, by, owner, member, told(before, after))
                await AuditLog(self._storage).record(connection, entry)
        self._known[subject] = after
        self.on_change()
        return after

    async def refresh(self) -> None:
        """Take over what other processes changed. Raises: StorageError."""
        async with self._storage.read() as connection:
            newer = select(limits).where(limits.c.revision > self._revision)
            rows = (await connection.execute(newer.order_by(limits.c.revision))).all()
        for row in rows:
            self._known[Subject(row.subject)] = _settings(row)
            self._revision = row.revision
        if rows:
            self.on_change()


async def write_limits(
    connection: AsyncConnection, subject: Subject, settings: LimitSettings, *, is_new: bool
) -> None:
    """Write settings in a transaction that has its turn (`Storage.write(in_turn=True)`)."""
    newest = await connection.execute(select(func.coalesce(func.max(limits.c.revision), 0)))
    values = {"revision": int(newest.scalar_one()) + 1, **_values(settings)}
    if is_new:
        await connection.execute(insert(limits).values(subject=subject, **values))
    else:
        await connection.execute(update(limits).where(limits.c.subject == subject).values(values))


async def _require(connection: AsyncConnection, table: Table, owner: KeyId | MemberId) -> str:
    """Make sure that a key or member is there, and give its member."""
    column = table.c.id if table is members else table.c.member_id
    found = await connection.execute(select(column).where(table.c.id == owner))
    member: str | None = found.scalar_one_or_none()
    if member is None:
        if table is members:
            raise MemberNotFound(f"no member {owner!r}")
        raise KeyNotFound(f"no key {owner!r}")
    return member


def _ends_sooner(before: LimitSettings, after: LimitSettings) -> bool:
    """Tell whether time was taken away."""
    if after.expires_at is None:
        return False
    return before.expires_at is None or after.expires_at < before.expires_at


def told(before: LimitSettings, after: LimitSettings) -> dict[str, Detail]:
    """Say for the log which limits are others now, and what they are."""
    old, new = _values(before), _values(after)
    return {name: _detail(new[name]) for name in new if new[name] != old[name]}


def _detail(value: object) -> Detail:
    if isinstance(value, str) and len(value) > LONGEST_TOLD:
        count = len(msgspec.json.decode(value, type=list[str]))
        return f"{count} names, sha256:{hashlib.sha256(value.encode()).hexdigest()}"
    return value if isinstance(value, str | int) or value is None else str(value)


def _values(settings: LimitSettings) -> dict[str, Any]:
    return {
        name: _listed(value) if isinstance(value, frozenset) else value
        for name in LimitSettings.__dataclass_fields__
        for value in [getattr(settings, name)]
    }


def _listed(names: frozenset[str]) -> str:
    return msgspec.json.encode(sorted(names)).decode()


def _settings(row: Row[tuple[object, ...]]) -> LimitSettings:
    fields = row._asdict()
    del fields["subject"], fields["revision"]
    for name in ("models", "regions"):
        if fields[name] is not None:
            fields[name] = frozenset(msgspec.json.decode(fields[name], type=list[str]))
    return LimitSettings(**fields)


__all__ = ["LimitBook", "told", "write_limits"]
