"""The log in the database: entries are written with the act that they tell of, or not at all."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Row, Select, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.audit.chain import (
    NOTHING,
    Check,
    Signer,
    Verdict,
    canonical,
    hash_of,
    signed_head,
)
from garage_ai.audit.errors import LogBroken
from garage_ai.audit.models import Action, Clock, Entry, Head, Noted, Recorded, utc_now
from garage_ai.storage import Storage
from garage_ai.storage.tables import audit, audit_heads

MAX_LISTED: Final = 1000
MAX_DETAILS: Final = 8192


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries are asked for; None asks for all.

    `actor` is a kind or the id of a key, node or member; `action` a whole one or its first word.
    `member` asks for what a member did, or what was done to what is its own, `among` for certain
    actions.
    """

    since: datetime | None = None
    actor: str | None = None
    action: str | None = None
    member: str | None = None
    among: Collection[Action] = ()


class AuditLog:
    """Append to the log, read it, check it, sign it.

    Keeps nothing in memory, so that each service may have one of its own.
    """

    def __init__(self, storage: Storage, clock: Clock = utc_now) -> None:
        self._storage = storage
        self._clock = clock

    async def record(self, connection: AsyncConnection, entry: Entry) -> Recorded:
        """Append an entry in the caller's transaction, which is of `write(in_turn=True)`.

        In turn, since each entry stands on the one before it. Raises: StorageError.
        """
        if not self._storage.is_in_turn(connection):
            raise AssertionError("an entry is recorded in a transaction that waits for its turn")
        details = canonical(entry.details)
        if len(details) > MAX_DETAILS:
            raise AssertionError(f"details of {len(details)} characters, by {entry.action}")
        last = (await connection.execute(_LAST)).one_or_none()
        seq, previous = (last.seq, last.hash) if last is not None else (0, NOTHING)
        unsealed = Recorded(
            seq + 1,
            self._clock(),
            entry.action,
            entry.by.kind,
            entry.by.id,
            entry.by.member,
            entry.subject,
            entry.member,
            details,
            NOTHING,
        )
        values = {name: getattr(unsealed, name) for name in audit.c.keys()}  # noqa: SIM118
        values["hash"] = hash_of(unsealed, previous)
        await connection.execute(insert(audit).values(values))
        return Recorded(**values)

    async def append(self, entry: Entry) -> Recorded:
        """Append an entry by itself, for an act outside of the database. Raises: StorageError."""
        async with self._storage.write(in_turn=True) as connection:
            return await self.record(connection, entry)

    async def latest(
        self, limit: int = 100, before: int | None = None, wanted: Wanted | None = None
    ) -> Sequence[Recorded]:
        """Give entries, newest first, from those before number `before`. Raises: StorageError."""
        statement = _wanted(wanted or Wanted()).order_by(audit.c.seq.desc()).limit(_bound(limit))
        if before is not None:
            statement = statement.where(audit.c.seq < before)
        return await self._entries(statement)

    async def following(
        self, after: int = 0, limit: int = MAX_LISTED, wanted: Wanted | None = None
    ) -> Sequence[Recorded]:
        """Give entries, oldest first, from those after number `after`. Raises: StorageError."""
        statement = _wanted(wanted or Wanted()).order_by(audit.c.seq).limit(_bound(limit))
        return await self._entries(statement.where(audit.c.seq > after))

    async def size(self) -> int:
        """Tell how many entries there are. Raises: StorageError."""
        async with self._storage.read() as connection:
            return int(await connection.scalar(select(func.max(audit.c.seq))) or 0)

    async def heads(self) -> Sequence[Head]:
        """Give all signed heads, the smallest first. Raises: StorageError."""
        async with self._storage.read() as connection:
            rows = await connection.execute(select(audit_heads).order_by(audit_heads.c.size))
            return [Head(**row._asdict()) for row in rows]

    async def latest_heads(
        self, limit: int = MAX_LISTED, before: int | None = None
    ) -> Sequence[Head]:
        """Give signed heads, the largest first, from those over fewer entries than `before`.

        Raises: StorageError.
        """
        statement = select(audit_heads).order_by(audit_heads.c.size.desc()).limit(_bound(limit))
        if before is not None:
            statement = statement.where(audit_heads.c.size < before)
        async with self._storage.read() as connection:
            return [Head(**row._asdict()) for row in await connection.execute(statement)]

    async def head(self) -> Head | None:
        """Give the newest signed head, None before the first. Raises: StorageError."""
        newest = await self.latest_heads(1)
        return newest[0] if newest else None

    async def sign(self, signer: Signer, remembered: Head | None = None) -> Head | None:
        """Give the head over all that the log holds now, signed unless it was; None over nothing.

        A log that does not go on from the newest head in it and from the one that is remembered
        outside of the database is not signed: that would make good what another hand wrote.
        Several gateways may sign at once; one of their heads is kept, which are all alike.
        Raises: LogBroken, StorageError.
        """
        if remembered is not None and await self._ends_with(remembered):
            return remembered
        try:
            newest = await self.head()
        except (TypeError, ValueError) as error:
            raise LogBroken("the newest head cannot be read") from error
        verdict = await self._go_on([each for each in (newest, remembered) if each], signer.public)
        if not verdict.is_whole:
            raise LogBroken(f"entry {verdict.findings[0].seq}: {verdict.findings[0].what}")
        if newest is not None and newest.size == verdict.size:
            return newest
        if not verdict.size:
            return None
        head = signed_head(verdict.size, verdict.root, self._clock(), signer)
        values = {name: getattr(head, name) for name in audit_heads.c.keys()}  # noqa: SIM118
        async with self._storage.write() as connection:
            await connection.execute(self._storage.insert_new(audit_heads).values(values))
        return head

    async def _ends_with(self, head: Head) -> bool:
        async with self._storage.read() as connection:
            last = (await connection.execute(_LAST)).one_or_none()
        return last is not None and (last.seq, last.hash) == (head.size, head.root)

    async def _go_on(self, heads: Sequence[Head], public_key: str) -> Verdict:
        """Check the log from the smallest of these heads on."""
        check = Check(heads, public_key)
        if heads:
            check.size = min(head.size for head in heads) - 1
            check.root = await self._hash_at(check.size)
        await self._read_on(check)
        return check.finish()

    async def verify(
        self, public_key: str, noted: Noted | None = None, remembered: Head | None = None
    ) -> Verdict:
        """Check every entry and every head, and the one that is remembered outside.

        Raises: StorageError.
        """
        heads, unreadable = await self._readable_heads()
        outside = () if remembered is None else (remembered,)
        check = Check((*heads, *outside), public_key, noted)
        for size in unreadable:
            check.unreadable_head(size)
        await self._read_on(check)
        for number in await self._before_the_first():
            check.misplaced(number)
        return check.finish()

    async def _before_the_first(self) -> Sequence[int]:
        """Give numbers that no entry is given; a reading from the first on would miss them."""
        hidden = select(audit.c.seq).where(audit.c.seq < 1).limit(MAX_LISTED)
        async with self._storage.read() as connection:
            return (await connection.execute(hidden)).scalars().all()

    async def _read_on(self, check: Check) -> None:
        """Let a check read the log from where it is to its end."""
        while page := await self._readable(check.size):
            for each in page:
                if isinstance(each, Recorded):
                    check.take(each)
                else:
                    check.unreadable(*each)

    async def _hash_at(self, seq: int) -> bytes:
        async with self._storage.read() as connection:
            stored = select(audit.c.hash).where(audit.c.seq == seq)
            found: bytes | None = (await connection.execute(stored)).scalar_one_or_none()
        return NOTHING if found is None else found

    async def _readable_heads(self) -> tuple[Sequence[Head], Sequence[int]]:
        """Give the heads, and the sizes of those that another hand made unreadable."""
        try:
            return await self.heads(), ()
        except (TypeError, ValueError):
            pass
        async with self._storage.read() as connection:
            sizes = (await connection.execute(select(audit_heads.c.size))).scalars().all()
        heads = {size: await self._head_of(size) for size in sizes}
        return (
            [head for head in heads.values() if head is not None],
            [size for size, head in heads.items() if head is None],
        )

    async def _head_of(self, size: int) -> Head | None:
        one = select(audit_heads).where(audit_heads.c.size == size)
        try:
            async with self._storage.read() as connection:
                return Head(**(await connection.execute(one)).one()._asdict())
        except (TypeError, ValueError):
            return None

    async def _readable(self, after: int) -> Sequence[Recorded | tuple[int, bytes]]:
        """Give the next entries; of one that another hand made unreadable number and hash."""
        try:
            return await self.following(after)
        except (TypeError, ValueError):
            pass
        stated = select(audit.c.seq, audit.c.hash).where(audit.c.seq > after)
        async with self._storage.read() as connection:
            rows = await connection.execute(stated.order_by(audit.c.seq).limit(MAX_LISTED))
            found = [(int(row.seq), row.hash) for row in rows]
        return [await self._one(seq) or (seq, stored) for seq, stored in found]

    async def _one(self, seq: int) -> Recorded | None:
        try:
            return (await self.following(seq - 1, 1))[0]
        except (TypeError, ValueError):
            return None

    async def _entries(self, statement: Select[tuple[object, ...]]) -> Sequence[Recorded]:
        async with self._storage.read() as connection:
            return [_recorded(row) for row in await connection.execute(statement)]


_LAST: Final = select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)


def _bound(limit: int) -> int:
    return min(max(limit, 1), MAX_LISTED)


def _wanted(wanted: Wanted) -> Select[tuple[object, ...]]:
    statement = select(audit)
    for condition in _conditions(wanted):
        statement = statement.where(condition)
    return statement


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.since is not None:
        conditions.append(audit.c.at >= wanted.since)
    if wanted.actor is not None:
        columns = (audit.c.actor, audit.c.actor_id, audit.c.actor_member)
        conditions.append(or_(*(column == wanted.actor for column in columns)))
    if wanted.action is not None:
        conditions.append(_is_action(wanted.action))
    if wanted.among:
        conditions.append(audit.c.action.in_(wanted.among))
    if wanted.member is not None:
        conditions.append(
            or_(audit.c.actor_member == wanted.member, audit.c.member == wanted.member)
        )
    return conditions


def _is_action(name: str) -> ColumnElement[bool]:
    """Find a whole action, by its index, or all with a first word."""
    if "." in name:
        return audit.c.action == name
    return audit.c.action.startswith(f"{name}.", autoescape=True)


def _recorded(row: Row[tuple[object, ...]]) -> Recorded:
    return Recorded(**row._asdict())


__all__ = ["MAX_LISTED", "AuditLog", "Wanted"]
