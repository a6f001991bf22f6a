"""What the worker says to the database of items."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Select,
    Subquery,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    update,
)

from garage_ai.storage.tables import Utc, batch_items, batches, files

MOST_BATCHES: Final = 1000
"""Batches whose items are counted in one look."""

MOST_OF_ONE: Final = 32
"""Batches of one member and model among them: many small ones leave the look to others, too."""

MOST_SEEN: Final = 512
"""Items of one batch that are counted: more than one round can give away."""

# Words for the indices of what waits and what runs, which a bound value would not be found by.
_QUEUED: Final[ColumnElement[str]] = literal_column("'queued'")
_LEASED: Final[ColumnElement[str]] = literal_column("'leased'")


def _due(now: datetime) -> ColumnElement[bool]:
    return or_(batch_items.c.not_before.is_(None), batch_items.c.not_before <= now)


def waiting(now: datetime, paused: Collection[str] = ()) -> Select[*tuple[Any, ...]]:
    """Give batches with how many of their items could begin now, those of `paused` left out.

    `paused` are ids of batches and keys. Everybody's earliest deadline is before anybody's second.
    """
    first = _first(now, paused)
    items = (
        select(batch_items.c.line)
        .where(batch_items.c.batch_id == first.c.id, batch_items.c.state == _QUEUED, _due(now))
        .correlate(first)
        .limit(MOST_SEEN)
        .subquery()
    )
    counted = select(func.count()).select_from(items).scalar_subquery()
    return (
        select(
            batches.c.id,
            batches.c.member_id,
            batches.c.key_id,
            batches.c.model,
            batches.c.endpoint,
            batches.c.created_at,
            batches.c.expires_at,
            files.c.place,
            counted.label("items"),
            batches.c.isolation,
        )
        .join(first, first.c.id == batches.c.id)
        .join(files, files.c.id == batches.c.input_file_id)
        .order_by(first.c.turn, batches.c.expires_at)
    )


def _first(now: datetime, paused: Collection[str]) -> Subquery:
    """Choose the batches to look at, of those that have an item that could begin."""
    turn = func.row_number().over(
        partition_by=(batches.c.member_id, batches.c.model),
        order_by=(batches.c.expires_at, batches.c.id),
    )
    some = select(batch_items.c.line).where(
        batch_items.c.batch_id == batches.c.id, batch_items.c.state == _QUEUED, _due(now)
    )
    able = (
        select(batches.c.id, batches.c.expires_at, turn.label("turn"))
        .where(
            batches.c.status == "in_progress",
            batches.c.expires_at > now,
            batches.c.id.not_in(paused),
            batches.c.key_id.not_in(paused),
            some.correlate(batches).exists(),
        )
        .subquery()
    )
    return (
        select(able.c.id, able.c.turn)
        .where(able.c.turn <= MOST_OF_ONE)
        .order_by(able.c.turn, able.c.expires_at)
        .limit(MOST_BATCHES)
        .subquery()
    )


def next_items(batch: str, most: int, now: datetime) -> Select[*tuple[object, ...]]:
    """Choose the first items of a batch that nobody has and nobody else is just claiming."""
    goes_on = (
        select(batches.c.id)
        .where(batches.c.id == batch, batches.c.status == "in_progress")
        .exists()
    )
    return (
        select(
            batch_items.c.batch_id,
            batch_items.c.line,
            batch_items.c.custom_id,
            batch_items.c.offset,
            batch_items.c.length,
            batch_items.c.hold,
            batch_items.c.attempts,
            batch_items.c.epoch,
        )
        .where(batch_items.c.batch_id == batch, batch_items.c.state == _QUEUED, _due(now), goes_on)
        .order_by(batch_items.c.line)
        .limit(most)
        .with_for_update(skip_locked=True, of=batch_items)
    )


def overdue(before: datetime, most: int) -> Select[*tuple[Any, ...]]:
    """Lock items whose leases ended before a moment, the longest first."""
    return (
        select(
            batch_items.c.batch_id,
            batch_items.c.line,
            batch_items.c.custom_id,
            batch_items.c.epoch,
            (batch_items.c.losses + 1).label("losses"),
        )
        .where(batch_items.c.state == _LEASED, batch_items.c.lease_until < before)
        .order_by(batch_items.c.lease_until)
        .limit(most)
        .with_for_update(skip_locked=True)
    )


def held(batch: str, line: int, epoch: int) -> Select[int]:
    """Find an item that is still leased under an epoch, and whose result would be taken."""
    return (
        select(batch_items.c.line)
        .join(batches, batches.c.id == batch_items.c.batch_id)
        .where(
            batch_items.c.batch_id == batch,
            batch_items.c.line == line,
            batch_items.c.epoch == epoch,
            batch_items.c.state == _LEASED,
            batches.c.finalizing_at.is_(None),
        )
    )


def kept(worker: str) -> Select[*tuple[Any, ...]]:
    """Find a worker's items whose results would be taken."""
    return (
        select(batch_items.c.batch_id, batch_items.c.line, batch_items.c.epoch)
        .join(batches, batches.c.id == batch_items.c.batch_id)
        .where(
            batch_items.c.state == _LEASED,
            batch_items.c.worker == worker,
            batches.c.finalizing_at.is_(None),
        )
    )


def going_on(among: Collection[str], now: datetime) -> Select[str]:
    """Find batches whose items may be begun."""
    return select(batches.c.id).where(
        batches.c.id.in_(among), batches.c.status == "in_progress", batches.c.expires_at > now
    )


_ONE: Final = (batch_items.c.batch_id == bindparam("batch"), batch_items.c.line == bindparam("row"))
_HELD: Final = (
    *_ONE,
    batch_items.c.epoch == bindparam("held"),
    batch_items.c.state == _LEASED,
)
CLAIMED: Final = (
    update(batch_items)
    .where(*_ONE)
    .values(
        {
            "state": _LEASED,
            "epoch": batch_items.c.epoch + 1,
            "worker": bindparam("worker"),
            "lease_until": bindparam("until", type_=Utc()),
        }
    )
)
_FREE: Final = {"state": _QUEUED, "worker": None, "lease_until": None}
BACK: Final = update(batch_items).where(*_ONE).values({**_FREE, "losses": batch_items.c.losses + 1})
RENEWED: Final = (
    update(batch_items).where(*_HELD).values({"lease_until": bindparam("until", type_=Utc())})
)
RETURNED: Final = (
    update(batch_items)
    .where(*_HELD)
    .values(
        {
            **_FREE,
            "attempts": bindparam("tried"),
            "not_before": bindparam("later", type_=Utc()),
        }
    )
)
ENDED: Final = (
    update(batch_items)
    .where(*_HELD)
    .values(
        {
            "state": bindparam("state"),
            "result": bindparam("result"),
            "worker": literal_column("NULL"),
            "lease_until": literal_column("NULL"),
            "finished_at": literal_column("CURRENT_TIMESTAMP"),
        }
    )
)
# Once a batch is being finalised its files hold what was there, and nothing more.
COUNTED: Final = (
    update(batches)
    .where(batches.c.id == bindparam("batch"), batches.c.finalizing_at.is_(None))
    .values(
        {
            "completed": batches.c.completed + bindparam("done"),
            "failed": batches.c.failed + bindparam("failed"),
            "input_tokens": batches.c.input_tokens + bindparam("read"),
            "output_tokens": batches.c.output_tokens + bindparam("wrote"),
        }
    )
)

__all__ = [
    "BACK",
    "CLAIMED",
    "COUNTED",
    "ENDED",
    "MOST_BATCHES",
    "MOST_OF_ONE",
    "MOST_SEEN",
    "RENEWED",
    "RETURNED",
    "going_on",
    "held",
    "kept",
    "next_items",
    "overdue",
    "waiting",
]
