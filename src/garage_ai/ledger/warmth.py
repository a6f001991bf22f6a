"""When nodes were there to serve, and what they were seen to do: what a stipend rests on.

Both are the gateways' own view: a node is warm in a minute when a gateway would have given it
work, and it is as fast as the streams were that it answered for others.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, delete, func, select, update

from garage_ai.ledger.rewards import MINUTES, Served, together
from garage_ai.storage import MemberId, Storage
from garage_ai.storage.tables import nodes, usage, warm_hours
from garage_ai.wire.ids import NodeId

KEPT: Final = timedelta(days=7)
"""How long minutes are kept; stipends are decided within a day."""

LONG_ENOUGH: Final = 32
"""Tokens of a stream from which its speed is told; of fewer, the line tells more than the card."""

LOOK_SECONDS: Final = 600.0
"""Longest look through a day's usage: of a busy network's that is millions of rows."""


@dataclass(frozen=True, slots=True)
class WarmHour:
    """In which minutes of an hour a node was ready to serve."""

    hour: datetime
    node: NodeId
    minutes: tuple[int, ...]


class WarmHours:
    """The minutes in which nodes were ready, gathered in memory and added to those in SQL."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._seen: dict[tuple[datetime, NodeId], int] = defaultdict(int)
        self._inserts = storage.new_rows(warm_hours, ("hour", "node_id", "minutes"))

    def saw(self, ready: Iterable[NodeId], at: datetime) -> None:
        """Note who is ready in this minute; twice, or by several gateways, is once."""
        hour = hour_of(at)
        for node in ready:
            self._seen[hour, node] |= 1 << at.minute

    async def keep(self) -> None:
        """Add what was seen to what is written, and forget what is old. Raises: StorageError."""
        if not self._seen:
            return
        seen, self._seen = self._seen, defaultdict(int)
        try:
            await self._write(seen)
        except BaseException:
            for key, minutes in seen.items():
                self._seen[key] |= minutes
            raise

    async def of(self, hour: datetime) -> Mapping[NodeId, int]:
        """Count each node's minutes in an hour. Raises: StorageError."""
        asked = select(warm_hours.c.node_id, warm_hours.c.minutes).where(warm_hours.c.hour == hour)
        async with self._storage.read() as connection:
            rows = await connection.execute(asked)
            return {NodeId(node): int(minutes).bit_count() for node, minutes in rows}

    async def of_member(self, member: MemberId) -> list[WarmHour]:
        """Give what is written of a member's nodes, oldest first. Raises: StorageError."""
        own = select(nodes.c.id).where(nodes.c.member_id == member)
        asked = select(warm_hours).where(warm_hours.c.node_id.in_(own))
        async with self._storage.read() as connection:
            rows = await connection.execute(asked.order_by(*warm_hours.primary_key.columns))
            return [WarmHour(row.hour, NodeId(row.node_id), _listed(row.minutes)) for row in rows]

    async def _write(self, seen: Mapping[tuple[datetime, NodeId], int]) -> None:
        hours = {hour for hour, _ in seen}
        async with self._storage.write(in_turn=True) as connection:
            asked = select(warm_hours).where(warm_hours.c.hour.in_(hours))
            found = {
                (row.hour, row.node_id): row.minutes for row in await connection.execute(asked)
            }
            new = [(*key, minutes) for key, minutes in seen.items() if key not in found]
            if new:
                await self._inserts.add(connection, new)
            more = [
                {"of": hour, "node": node, "all": found[hour, node] | minutes}
                for (hour, node), minutes in seen.items()
                if minutes & ~found.get((hour, node), minutes)
            ]
            if more:
                await connection.execute(_ADDED, more)
            old = warm_hours.c.hour < max(hours) - KEPT
            await connection.execute(delete(warm_hours).where(old))


_ADDED: Final = (
    update(warm_hours)
    .where(warm_hours.c.hour == bindparam("of"), warm_hours.c.node_id == bindparam("node"))
    .values(minutes=bindparam("all"))
)


def _listed(minutes: int) -> tuple[int, ...]:
    return tuple(minute for minute in range(MINUTES) if minutes >> minute & 1)


def hour_of(at: datetime) -> datetime:
    """Give the beginning of a moment's hour."""
    return at.replace(minute=0, second=0, microsecond=0)


async def served_for_others(
    storage: Storage, expected: Mapping[str, float], since: datetime, until: datetime
) -> Mapping[NodeId, list[Served]]:
    """Give what each node was seen to do for each other member, once for each of them.

    Of models with a known speed; who used several of them is told as their mean.

    `expected` is tokens per second of one stream on the reference card, by digest. Taken are
    streams that one node answered to their end, long enough to tell a speed, and whose tokens the
    gateway counted itself. Raises: StorageError.
    """
    tokens = usage.c.counted_completion_tokens
    speed = (tokens - 1) / (usage.c.duration_s - usage.c.ttft_s)
    asked = (
        select(usage.c.node_id, usage.c.member_id, usage.c.digest, func.count(), func.avg(speed))
        .join(nodes, nodes.c.id == usage.c.node_id)
        .where(
            usage.c.at >= since,
            usage.c.at < until,
            usage.c.outcome == "ok",
            usage.c.stream,
            usage.c.parts.is_(None),
            usage.c.digest.in_(expected),
            usage.c.count_source == "tokenizer",
            tokens >= LONG_ENOUGH,
            usage.c.duration_s > usage.c.ttft_s,
            usage.c.member_id != nodes.c.member_id,
        )
        .group_by(usage.c.node_id, usage.c.member_id, usage.c.digest)
    )
    seen: dict[tuple[NodeId, MemberId], list[Served]] = defaultdict(list)
    async with storage.read(LOOK_SECONDS) as connection:
        for node, member, digest, count, mean in await connection.execute(asked):
            of_model = Served(int(count), float(mean), expected[digest])
            seen[NodeId(node), MemberId(member)].append(of_model)
    served: dict[NodeId, list[Served]] = defaultdict(list)
    for (node, _), of_models in seen.items():
        served[node].append(together(of_models))
    return served


__all__ = ["KEPT", "LONG_ENOUGH", "WarmHour", "WarmHours", "hour_of", "served_for_others"]
