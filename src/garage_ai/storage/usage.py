"""Usage: one record of each request, and what may be asked of all of them.

What each request makes is a struct and not a dataclass: frozen, one is made in a tenth of the time.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import ColumnElement, Row, String, case, cast, func, literal_column, select, tuple_

from garage_ai.storage.database import Storage
from garage_ai.storage.ids import KeyId, MemberId
from garage_ai.storage.tables import usage

Grouping = Literal["member", "key", "node", "model", "route", "outcome", "day"]

MAX_LISTED: Final = 1000
"""Most records one call of `usage_list` gives; a page of them is about 300 kB of JSON."""

_COLUMN: Final[dict[Grouping, ColumnElement[str | None]]] = {
    "member": usage.c.member_id,
    "key": usage.c.key_id,
    "node": usage.c.node_id,
    "model": usage.c.model,
    "route": usage.c.route,
    "outcome": usage.c.outcome,
    # The date in UTC. Literals, since a bound value would make two expressions of one.
    "day": func.substr(cast(usage.c.at, String), literal_column("1"), literal_column("10")),
}


class UsagePart(msgspec.Struct, frozen=True):
    """What one node contributed to an answer that several gave.

    `outcome` is `ok`, `yielded` (its owner took it back), `planned` (another went on before that),
    `preempted` (a batch request's slot went to a chat) or an error's code. `gap_s` is how many
    seconds passed between the last words of the node before and its first; None for the first node
    and for one that said nothing. `counted_tokens` are those of its text, as the gateway counts
    them.
    """

    node: str
    digest: str
    prompt_tokens: int | None
    completion_tokens: int | None
    content_events: int
    outcome: str
    gap_s: float | None
    counted_tokens: int | None = None


class UsageRecord(msgspec.Struct, frozen=True):
    """What one request used and how it ended.

    Tokens are the engine's word, None where it said nothing; content events and bytes are what
    the gateway saw. Counted tokens are the gateway's own and what is billed, by `count_source`:
    `tokenizer` or `rule`; None where nothing was delivered. Times are in seconds; `ttft_s` is None
    when no content came, and for answers that are not streamed: their first token is not seen.
    `node` began to answer; `parts` tells of each where others went on. `charge` is in nGAI; None
    where nothing is charged for. `caller_id` is what the client calls the request.
    """

    request_id: str
    at: datetime
    member: MemberId
    key_id: KeyId
    route: str
    model: str
    digest: str | None
    node: str | None
    outcome: str
    stream: bool
    prompt_tokens: int | None
    completion_tokens: int | None
    content_events: int
    bytes_out: int
    ttft_s: float | None
    duration_s: float
    attempts: int
    parts: tuple[UsagePart, ...] = ()
    charge: int | None = None
    caller_id: str | None = None
    counted_prompt_tokens: int | None = None
    counted_completion_tokens: int | None = None
    count_source: str | None = None

    def but(self, **changes: Any) -> "UsageRecord":
        """Give a copy of which some fields are others."""
        return msgspec.structs.replace(self, **changes)


@dataclass(frozen=True, slots=True)
class UsagePage:
    """Some records, newest first; `before` asks for the next page, None at the end."""

    records: tuple[UsageRecord, ...]
    before: int | None


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """Sums over the requests that share one value; `group` is None for those without one.

    The tokens of `untold` requests, whose engine said nothing, are in no sum.
    """

    group: str | None
    requests: int
    untold: int
    prompt_tokens: int
    completion_tokens: int
    content_events: int
    bytes_out: int
    duration_s: float


_parts: Final = msgspec.json.Decoder(tuple[UsagePart, ...])


async def usage_list(
    storage: Storage,
    limit: int = 100,
    before: int | None = None,
    *,
    member: MemberId | None = None,
) -> UsagePage:
    """List usage records, newest first: a member's by their moments, others as they came.

    `limit` is cut to 1..MAX_LISTED; `before` is the last page's. Raises: StorageError.
    """
    limit = min(max(limit, 1), MAX_LISTED)
    statement = select(usage).limit(limit + 1)
    if member is None:
        statement = statement.order_by(usage.c.seq.desc())
        if before is not None:
            statement = statement.where(usage.c.seq < before)
    else:
        # In the order of the index: any other would read all of the member's for each page.
        statement = statement.where(usage.c.member_id == member)
        statement = statement.order_by(usage.c.at.desc(), usage.c.seq.desc())
        if before is not None:
            last = select(usage.c.at).where(usage.c.seq <= before)
            moment = last.order_by(usage.c.seq.desc()).limit(1).scalar_subquery()
            statement = statement.where(tuple_(usage.c.at, usage.c.seq) < tuple_(moment, before))
    async with storage.read() as connection:
        rows = (await connection.execute(statement)).all()
    page = rows[:limit]
    more = len(rows) > limit
    return UsagePage(tuple(map(usage_record, page)), int(page[-1].seq) if more else None)


async def usage_summary(
    storage: Storage,
    since: datetime | None = None,
    until: datetime | None = None,
    by: Grouping = "member",
    *,
    member: MemberId | None = None,
) -> list[UsageTotal]:
    """Add up usage from `since` up to but without `until`, by one property, most requests first.

    Raises: StorageError.
    """
    group = _COLUMN[by]
    untold = func.sum(case((usage.c.completion_tokens.is_(None), 1), else_=0))
    sums = [
        # PostgreSQL adds whole numbers up to a decimal, which is another type in Python.
        cast(func.coalesce(func.sum(column), 0), column.type)
        for column in (
            usage.c.prompt_tokens,
            usage.c.completion_tokens,
            usage.c.content_events,
            usage.c.bytes_out,
            usage.c.duration_s,
        )
    ]
    statement = select(group, func.count(), untold, *sums).group_by(group)
    if since is not None:
        statement = statement.where(usage.c.at >= since)
    if until is not None:
        statement = statement.where(usage.c.at < until)
    if member is not None:
        statement = statement.where(usage.c.member_id == member)
    async with storage.read() as connection:
        rows = (
            await connection.execute(statement.order_by(func.count().desc(), group.nulls_first()))
        ).all()
    return [UsageTotal(*row) for row in rows]


def usage_record(row: Row[tuple[object, ...]]) -> UsageRecord:
    """Read a row of the table of usage."""
    fields = row._asdict()
    del fields["seq"]
    fields["member"] = fields.pop("member_id")
    fields["node"] = fields.pop("node_id")
    parts = fields.pop("parts")
    fields["parts"] = _parts.decode(parts) if parts else ()
    return UsageRecord(**fields)
