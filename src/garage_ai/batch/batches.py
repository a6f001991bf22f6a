"""Batches of members: submitted, listed, cancelled; what happens in between is the keeper's."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import msgspec
from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.accounts import Key, MemberId
from garage_ai.audit.models import Action, Actor, Clock, Entry, utc_now
from garage_ai.audit.service import AuditLog
from garage_ai.batch.errors import (
    BatchEnded,
    BatchLimit,
    BatchNotFound,
    InvalidBatch,
    SubmissionConflict,
)
from garage_ai.batch.files import find_file
from garage_ai.batch.holding import now_of
from garage_ai.batch.models import (
    ACTIVE,
    DEDICATED,
    ROUTES,
    Batch,
    batch_of,
    new_batch_id,
)
from garage_ai.storage import Storage
from garage_ai.storage.tables import batches, leases

MAX_PAIRS: Final = 16
MAX_NAME: Final = 64
MAX_VALUE: Final = 512
MAX_HOURS: Final = 7 * 24
"""Longest completion window."""
ISOLATION: Final = "isolation"
"""The key of `metadata` that says in which engines a batch runs."""

_WINDOW: Final = re.compile(r"([1-9][0-9]{0,2})([hd])")
_HOURS: Final = {"h": 1, "d": 24}

# What a batch costs is settled out of a lease of its name.
_WITH_CHARGE: Final = select(batches, leases.c.settled.label("charged")).outerjoin(
    leases, leases.c.id == batches.c.id
)


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How many batches a member may have under way, and how many unanswered lines in them."""

    active: int = 20
    lines: int = 2_000_000


@dataclass(frozen=True, slots=True)
class Submission:
    """What is asked for; `output_expires_s` counts from the making of the result files."""

    input_file_id: str
    endpoint: str
    completion_window: str = "24h"
    metadata: Mapping[str, str] | None = None
    output_expires_s: int | None = None


@dataclass(frozen=True, slots=True)
class BatchPage:
    """Batches, newest first, and whether there are more."""

    batches: Sequence[Batch]
    has_more: bool


class Batches:
    """Batches in the database; `wake` is called when there is something to do."""

    def __init__(
        self,
        storage: Storage,
        wake: Callable[[], None],
        limits: BatchLimits | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self._storage = storage
        self._wake = wake
        self._limits = limits or BatchLimits()
        self._audit = AuditLog(storage, clock)
        self._clock = clock

    async def submit(
        self, owner: Key, asked: Submission, idempotency_key: str | None = None
    ) -> Batch:
        """Take a batch, whose file is then looked at.

        The same submission sent again gives the batch that it made, whatever became of its file.
        Raises: InvalidBatch, FileNotFound, BatchLimit, SubmissionConflict, StorageError.
        """
        window = _window(asked.completion_window)
        isolation = _isolation(asked)
        now = self._clock()
        values = {
            "id": new_batch_id(),
            "member_id": owner.member,
            "key_id": owner.id,
            "idempotency_key": idempotency_key,
            "input_file_id": asked.input_file_id,
            "endpoint": asked.endpoint,
            "completion_window": asked.completion_window,
            "output_expires_s": asked.output_expires_s,
            "metadata": _metadata(asked),
            "isolation": isolation,
            "status": "validating",
            "created_at": now,
            "expires_at": now + window,
            **dict.fromkeys(_SUMS, 0),
        }
        async with self._storage.write(in_turn=True) as connection:
            values["due_at"] = await now_of(connection)
            new = await connection.execute(self._storage.insert_new(batches).values(values))
            if not new.rowcount:
                return await _earlier(connection, owner.member, idempotency_key, asked)
            file = await find_file(connection, owner.member, asked.input_file_id, now)
            if file.purpose != "batch":
                raise InvalidBatch("input_file_id", "a file of the purpose batch is needed.")
            await self._check_limits(connection, owner.member)
            made = await find_batch(connection, owner.member, str(values["id"]))
            by = Actor.key(owner.id, owner.member)
            entry = Entry(Action.BATCH_SUBMITTED, by, made.id, owner.member, {"file": file.id})
            await self._audit.record(connection, entry)
        self._wake()
        return made

    async def _check_limits(self, connection: AsyncConnection, member: MemberId) -> None:
        """Look at what is under way, the new batch too. Raises: BatchLimit."""
        active, lines = await under_way(connection, member)
        if active > self._limits.active:
            raise BatchLimit(f"A member has at most {self._limits.active} batches under way.")
        if lines >= self._limits.lines:
            raise BatchLimit(f"The batches under way have {self._limits.lines} open lines or more.")

    async def get(self, member: MemberId, batch: str) -> Batch:
        """Give a member's batch. Raises: BatchNotFound, StorageError."""
        async with self._storage.read() as connection:
            return await find_batch(connection, member, batch)

    async def list(self, member: MemberId, limit: int, after: str | None = None) -> BatchPage:
        """List a member's batches from behind one of them. Raises: BatchNotFound, StorageError."""
        wanted = _WITH_CHARGE.where(batches.c.member_id == member)
        async with self._storage.read() as connection:
            if after is not None:
                last = await find_batch(connection, member, after)
                created = batches.c.created_at
                same = and_(created == last.created_at, batches.c.id < last.id)
                wanted = wanted.where(or_(created < last.created_at, same))
            newest = wanted.order_by(batches.c.created_at.desc(), batches.c.id.desc())
            rows = (await connection.execute(newest.limit(limit + 1))).all()
        return BatchPage([batch_of(row) for row in rows[:limit]], len(rows) > limit)

    async def cancel(self, owner: Key, batch: str) -> Batch:
        """Let nothing more of a batch begin; what is done is in its files.

        Cancelling once more changes nothing. Raises: BatchNotFound, BatchEnded, StorageError.
        """
        now = self._clock()
        async with self._storage.write(in_turn=True) as connection:
            found = await find_batch(connection, owner.member, batch, held=True)
            if found.status in ("cancelling", "cancelled"):
                return found
            if found.status not in ("validating", "in_progress"):
                raise BatchEnded(f"a batch that is {found.status} is not cancelled")
            change = update(batches).where(batches.c.id == found.id)
            due = await now_of(connection)
            await connection.execute(
                change.values(status="cancelling", cancelling_at=now, due_at=due)
            )
            by = Actor.key(owner.id, owner.member)
            entry = Entry(Action.BATCH_CANCELLED, by, found.id, owner.member)
            await self._audit.record(connection, entry)
            found = await find_batch(connection, owner.member, batch)
        self._wake()
        return found


async def under_way(connection: AsyncConnection, member: MemberId) -> tuple[int, int]:
    """Count a member's batches that have not ended, and the lines in them without an answer."""
    open_lines = func.sum(batches.c.total - batches.c.completed - batches.c.failed)
    counted = select(func.count(), func.coalesce(open_lines, 0)).where(
        batches.c.member_id == member, batches.c.status.in_(ACTIVE)
    )
    active, lines = (await connection.execute(counted)).one()
    return active, int(lines)


async def find_batch(
    connection: AsyncConnection, member: MemberId, batch: str, *, held: bool = False
) -> Batch:
    """Give a member's batch in the caller's transaction. Raises: BatchNotFound.

    One that is `held` is changed by nobody else until that ends.
    """
    wanted = _WITH_CHARGE.where(batches.c.id == batch, batches.c.member_id == member)
    if held:
        wanted = wanted.with_for_update(of=batches)
    row = (await connection.execute(wanted)).one_or_none()
    if row is None:
        raise BatchNotFound(f"no batch {batch[:64]!r}")
    return batch_of(row)


_SUMS: Final = ("total", "completed", "failed", "reserved", "input_tokens", "output_tokens")


async def _earlier(
    connection: AsyncConnection,
    member: MemberId,
    idempotency_key: str | None,
    asked: Submission,
) -> Batch:
    """Give the batch that this idempotency key made. Raises: SubmissionConflict."""
    same = (batches.c.member_id == member) & (batches.c.idempotency_key == idempotency_key)
    row = (await connection.execute(_WITH_CHARGE.where(same))).one()
    made = batch_of(row)
    was_asked = Submission(
        made.input_file_id,
        made.endpoint,
        made.completion_window,
        made.metadata,
        made.output_expires_s,
    )
    if was_asked != asked:
        raise SubmissionConflict("that idempotency key has made another batch")
    return made


def _window(text: str) -> timedelta:
    found = _WINDOW.fullmatch(text)
    hours = int(found[1]) * _HOURS[found[2]] if found else 0
    if not 0 < hours <= MAX_HOURS:
        raise InvalidBatch("completion_window", "from 1h to 7d, 24h for example.")
    return timedelta(hours=hours)


def _isolation(asked: Submission) -> str | None:
    if asked.endpoint not in ROUTES:
        raise InvalidBatch("endpoint", f"one of {', '.join(ROUTES)}.")
    isolation = (asked.metadata or {}).get(ISOLATION)
    if isolation not in (None, DEDICATED):
        raise InvalidBatch(f"metadata.{ISOLATION}", f"{DEDICATED}, or left out.")
    return isolation


def _metadata(asked: Submission) -> str | None:
    """Write what the client put beside a batch. Raises: InvalidBatch."""
    if asked.metadata is None:
        return None
    if len(asked.metadata) > MAX_PAIRS:
        raise InvalidBatch("metadata", f"at most {MAX_PAIRS} pairs.")
    for name, value in asked.metadata.items():
        if len(name) > MAX_NAME or len(value) > MAX_VALUE:
            reason = f"names of at most {MAX_NAME} characters, values of {MAX_VALUE}."
            raise InvalidBatch("metadata", reason)
    return msgspec.json.encode(asked.metadata).decode()


__all__ = ["BatchLimits", "BatchPage", "Batches", "Submission", "find_batch", "under_way"]
