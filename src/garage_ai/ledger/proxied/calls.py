"""The calls that proxies told of, in the database."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Column, Row, Select, func, or_, select, tuple_

from garage_ai.audit.models import Clock, utc_now
from garage_ai.ledger.proxied.models import ProxiedCall, TellResult, ToldCall
from garage_ai.storage import KeyId, MemberId, Storage
from garage_ai.storage.tables import litellm_calls, litellm_mappings, litellm_payer, may_be_of

_OWN: Final = ("seq", "proxy_id", "proxy_key_id", "received_at", "state", "booked_to", "booked")

WAITING: Final = "waiting"
"""It may still have to be passed on."""
BOOKED: Final = "booked"
NOTHING: Final = "nothing"
"""It cost nothing, or it is the proxy's own."""


class ProxiedCalls:
    """Keep calls: each once, whoever tells how often."""

    def __init__(self, storage: Storage, clock: Clock = utc_now) -> None:
        self._storage = storage
        self._clock = clock

    async def tell(
        self, proxy: MemberId, key: KeyId, calls: Sequence[ProxiedCall]
    ) -> list[TellResult]:
        """Keep what a proxy tells; the first word about a call stands. Raises: StorageError."""
        results: list[TellResult] = []
        now = self._clock()
        async with self._storage.write() as connection:
            whose = {
                row.call_id: row.proxy_id
                for row in await connection.execute(
                    select(litellm_calls.c.call_id, litellm_calls.c.proxy_id).where(
                        litellm_calls.c.call_id.in_([call.call_id for call in calls])
                    )
                )
            }
            for call in calls:
                if call.call_id not in whose:
                    row = _row(call, proxy, key, now)
                    done = await connection.execute(
                        self._storage.insert_new(litellm_calls).values(row)
                    )
                    # Another process may have been told of it a moment ago.
                    results.append("new" if done.rowcount else "known")
                    whose[call.call_id] = proxy
                else:
                    results.append("known" if whose[call.call_id] == proxy else "taken")
        return results

    async def of_requests(
        self, call_ids: Sequence[str], request_ids: Sequence[str]
    ) -> list[ToldCall]:
        """Give the calls under these ids, LiteLLM's or the gateway's. Raises: StorageError."""
        table = litellm_calls
        either = or_(table.c.call_id.in_(call_ids), table.c.request_id.in_(request_ids))
        return await self._read(select(table).where(either).order_by(table.c.seq))

    async def page(
        self, since: datetime | None, until: datetime | None, after: int, limit: int
    ) -> list[ToldCall]:
        """Give calls that began in a time, in that order; behind number `after`, where not 0.

        Raises: StorageError.
        """
        table = litellm_calls
        page = in_order(select(table), table.c.begun_at, since, until, after).limit(limit)
        return await self._read(page)

    async def of_member(self, member: MemberId, after: int, limit: int) -> list[ToldCall]:
        """Give calls that are a member's, paid or not, in the order of their coming.

        Behind number `after`. Raises: StorageError.
        """
        table, mappings = litellm_calls, litellm_mappings
        mapped = select(mappings.c.kind, mappings.c.value).where(mappings.c.member_id == member)
        async with self._storage.read() as connection:
            known = [(row.kind, row.value) for row in await connection.execute(mapped)]
        own = select(table).where(may_be_of(member, known), litellm_payer == member)
        page = own.where(table.c.seq > after).order_by(table.c.seq).limit(limit)
        return await self._read(page)

    async def keys(self) -> list[KeyId]:
        """Give the keys that proxies have. Raises: StorageError."""
        key = litellm_calls.c.proxy_key_id
        found: list[KeyId] = []
        # From key to key in the index: they are few, and the calls are many.
        async with self._storage.read() as connection:
            last = await connection.scalar(select(func.min(key)))
            while last is not None:
                found.append(KeyId(last))
                last = await connection.scalar(select(func.min(key)).where(key > last))
        return found

    async def _read(self, statement: Select[tuple[object, ...]]) -> list[ToldCall]:
        async with self._storage.read() as connection:
            return [told(row) for row in await connection.execute(statement)]


def _row(call: ProxiedCall, proxy: MemberId, key: KeyId, now: datetime) -> dict[str, object]:
    return {
        **asdict(call),
        "proxy_id": proxy,
        "proxy_key_id": key,
        "received_at": now,
        "state": WAITING if call.sent else NOTHING,
    }


def in_order(
    rows: Select[Any],
    at: Column[datetime],
    since: datetime | None,
    until: datetime | None,
    after: int,
) -> Select[Any]:
    """Read rows of a time in the order of their moments, by the index of these.

    `after` is the number of the last row that was read, 0 for none.
    """
    seq = at.table.c.seq
    if after:
        last = select(at).where(seq == after).scalar_subquery()
        rows = rows.where(tuple_(at, seq) > tuple_(last, after))
    elif since is not None:
        rows = rows.where(at >= since)
    if until is not None:
        rows = rows.where(at < until)
    return rows.order_by(at, seq)


def told(row: Row[tuple[object, ...]]) -> ToldCall:
    """Read a row of the table."""
    fields = row._asdict()
    own = {name: fields.pop(name) for name in _OWN}
    return ToldCall(
        seq=own["seq"],
        proxy=own["proxy_id"],
        proxy_key=own["proxy_key_id"],
        call=ProxiedCall(**fields),
        booked_to=own["booked_to"],
        booked=own["booked"],
    )


__all__ = ["BOOKED", "NOTHING", "WAITING", "ProxiedCalls", "in_order", "told"]
