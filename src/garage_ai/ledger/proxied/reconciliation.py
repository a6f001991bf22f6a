"""Both sides of every call, read page by page and compared."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import or_, select

from garage_ai.ledger.proxied.calls import ProxiedCalls, in_order
from garage_ai.ledger.proxied.comparison import Comparison, Difference, compare
from garage_ai.ledger.proxied.models import ToldCall
from garage_ai.storage import MemberId, Storage, UsageRecord, usage_record
from garage_ai.storage.tables import usage

PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Page:
    """What came of comparing some calls; `after` asks for the next page, None at the end."""

    counts: Mapping[Comparison, int]
    differences: tuple[Difference, ...]
    after: str | None


class Reconciliation:
    """Compare what LiteLLM told with what this gateway has.

    First every call that began in the time, then every request of the proxies' keys that no call
    belongs to: each call and each request is in one page, once.
    """

    def __init__(self, storage: Storage, calls: ProxiedCalls) -> None:
        self._storage = storage
        self._calls = calls

    async def page(self, since: datetime | None, until: datetime | None, after: str | None) -> Page:
        """Compare a page's worth; `after` is the last page's. Raises: ValueError, StorageError."""
        side, place = _place(after)
        if side == "calls":
            return await self._calls_page(since, until, place)
        return await self._requests_page(since, until, place)

    async def _calls_page(self, since: datetime | None, until: datetime | None, after: int) -> Page:
        told = await self._calls.page(since, until, after, PAGE)
        records = await self._records_of(told)
        counts: Counter[Comparison] = Counter()
        found: list[Difference] = []
        for each in told:
            mine = records.get(each.call.call_id, [])
            verdict, differences = compare(each.call, mine)
            counts[verdict] += 1
            found += differences
        end = f"calls:{told[-1].seq}" if len(told) == PAGE else "requests:0"
        return Page(counts, tuple(found), end)

    async def _requests_page(
        self, since: datetime | None, until: datetime | None, after: int
    ) -> Page:
        rows = await self._requests(since, until, after)
        records = [record for _, record in rows]
        known = await self._calls.of_requests(
            [record.caller_id for record in records if record.caller_id],
            [record.request_id for record in records],
        )
        named = {(each.proxy, each.call.call_id) for each in known}
        claimed = {(each.proxy, each.call.request_id) for each in known}
        counts: Counter[Comparison] = Counter()
        found: list[Difference] = []
        for record in records:
            if (record.member, record.caller_id) in named or (
                record.caller_id is None and (record.member, record.request_id) in claimed
            ):
                continue
            verdict, differences = compare(None, [record])
            counts[verdict] += 1
            found += differences
        end = f"requests:{rows[-1][0]}" if len(rows) == PAGE else None
        return Page(counts, tuple(found), end)

    async def _records_of(self, told: Sequence[ToldCall]) -> dict[str, list[UsageRecord]]:
        """Find the gateway's records of calls; those of other members are not theirs."""
        wanted = [each.call.call_id for each in told]
        told_ids = [each.call.request_id for each in told if each.call.request_id]
        statement = select(usage).where(
            or_(usage.c.caller_id.in_(wanted), usage.c.request_id.in_(told_ids))
        )
        async with self._storage.read() as connection:
            rows = (await connection.execute(statement.order_by(usage.c.seq))).all()
        by_name: defaultdict[tuple[MemberId, str], list[UsageRecord]] = defaultdict(list)
        by_id: dict[tuple[MemberId, str], UsageRecord] = {}
        for record in map(usage_record, rows):
            if record.caller_id is not None:
                by_name[record.member, record.caller_id].append(record)
            else:
                by_id[record.member, record.request_id] = record
        return {
            each.call.call_id: by_name.get((each.proxy, each.call.call_id))
            or _one(by_id.get((each.proxy, each.call.request_id or "")))
            for each in told
        }

    async def _requests(
        self, since: datetime | None, until: datetime | None, after: int
    ) -> list[tuple[int, UsageRecord]]:
        """Give requests that came with a proxy's key."""
        keys = await self._calls.keys()
        if not keys:
            return []
        theirs = select(usage).where(usage.c.key_id.in_(keys))
        page = in_order(theirs, usage.c.at, since, until, after).limit(PAGE)
        async with self._storage.read() as connection:
            rows = (await connection.execute(page)).all()
        return [(int(row.seq), usage_record(row)) for row in rows]


def _one(record: UsageRecord | None) -> list[UsageRecord]:
    return [] if record is None else [record]


def _place(after: str | None) -> tuple[str, int]:
    side, _, place = (after or "calls:0").partition(":")
    if side not in ("calls", "requests") or not place.isdecimal() or len(place) > 18:
        raise ValueError("no place that a page named")
    return side, int(place)


__all__ = ["Page", "Reconciliation"]
