"""What is forgotten of a member that wishes to be: every name, place and secret; ids stay.

What was used, booked and recorded stays under the member's id, by which nobody can be found once
these rows hold nothing else: books that lose entries would no longer add up for all the others.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Table,
    bindparam,
    case,
    delete,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.storage import MemberId
from garage_ai.storage.tables import (
    CALLERS,
    batches,
    benchmarks,
    enrolment_tokens,
    external_models,
    files,
    invited,
    invites,
    keys,
    limits,
    litellm_calls,
    litellm_mappings,
    litellm_payer,
    may_be_of,
    members,
    nodes,
    usage,
)

FORGOTTEN: Final = "erased"
"""What stands where a name stood."""
_RUNNING: Final = ("validating", "in_progress", "finalizing", "cancelling")
"""States of a batch that has not ended."""


async def erase_member(
    connection: AsyncConnection, member: MemberId, now: datetime
) -> Mapping[str, int]:
    """Forget a member in the caller's transaction; gives how many keys, tokens and nodes it had."""
    await connection.execute(
        update(members)
        .where(members.c.id == member)
        .values(name=FORGOTTEN, erased_at=now, suspended_at=None)
    )
    ended = {
        "keys": await _end_keys(connection, member, now),
        "tokens": await _end_tokens(connection, member, now),
        "nodes": await _end_nodes(connection, member, now),
    }
    await connection.execute(delete(external_models).where(external_models.c.member_id == member))
    await _forget_lists(connection, member)
    await _end_batches(connection, member, now)
    await _end_invites(connection, member, now)
    await _forget_callers(connection, member)
    await _forget_words(connection, member)
    return ended


async def _end_keys(connection: AsyncConnection, member: MemberId, now: datetime) -> int:
    values = {
        "name": FORGOTTEN,
        "region": None,
        "idempotency_key": None,
        "revoked_at": _once(keys.c.revoked_at, now),
    }
    return await _change_each(connection, keys, member, values)


async def _end_tokens(connection: AsyncConnection, member: MemberId, now: datetime) -> int:
    tokens = enrolment_tokens
    return (
        await connection.execute(
            update(tokens)
            .where(tokens.c.member_id == member)
            .values(
                region=None,
                idempotency_key=None,
                revoked_at=_once(tokens.c.revoked_at, now),
            )
        )
    ).rowcount


async def _end_nodes(connection: AsyncConnection, member: MemberId, now: datetime) -> int:
    """End the nodes. Their public keys stay: they keep a removed node from coming back."""
    mine = select(nodes.c.id).where(nodes.c.member_id == member)
    await connection.execute(delete(benchmarks).where(benchmarks.c.node_id.in_(mine)))
    removed = _once(nodes.c.removed_at, now)
    values = {"name": FORGOTTEN, "region": None, "removed_at": removed}
    return await _change_each(connection, nodes, member, values)


async def _end_invites(connection: AsyncConnection, member: MemberId, now: datetime) -> None:
    """End the invites that the member gave, and forget the name on the one it came by."""
    came_by = select(invited.c.invite_id).where(invited.c.member_id == member)
    given = invites.c.member_id == member
    await connection.execute(
        update(invites).where(or_(given, invites.c.id.in_(came_by))).values(name=None)
    )
    await connection.execute(
        update(invites)
        .where(given)
        .values(idempotency_key=None, revoked_at=_once(invites.c.revoked_at, now))
    )
    await connection.execute(
        update(invited).where(invited.c.member_id == member).values(idempotency_key=None)
    )


async def _end_batches(connection: AsyncConnection, member: MemberId, now: datetime) -> None:
    """End batches and doom files; the keeper of batches clears away bytes and items at once."""
    runs = or_(*(batches.c.status == each for each in _RUNNING))
    running = case((runs, "cancelled"), else_=batches.c.status)
    ended = case((runs, now), else_=batches.c.cancelled_at)
    values = {
        "status": running,
        "cancelled_at": ended,
        "finalizing_at": _once(batches.c.finalizing_at, now),
        **dict.fromkeys(("metadata", "errors", "idempotency_key", "holder")),
        "due_at": now,
    }
    await _change_each(connection, batches, member, values)
    # Behind the batches: whoever registers a batch's files has the batch first.
    await connection.execute(
        update(files)
        .where(files.c.member_id == member)
        .values(status="deleting", filename=FORGOTTEN)
    )


async def _forget_lists(connection: AsyncConnection, member: MemberId) -> None:
    """Forget which regions and models limits name: where the member lives, or what is its own.

    Gateways go on with what they know, of keys that have ended.
    """
    own = select(keys.c.id).where(keys.c.member_id == member)
    theirs = or_(limits.c.subject == member, limits.c.subject.in_(own))
    await connection.execute(update(limits).where(theirs).values(models=None, regions=None))


async def _forget_callers(connection: AsyncConnection, member: MemberId) -> None:
    """Forget what LiteLLM proxies call the member: where they are mapped to it, and of its calls.

    Where a call of somebody else's bears one of the member's names, that name goes.
    """
    calls, mappings = litellm_calls, litellm_mappings
    nobody = dict.fromkeys(name for names in CALLERS.values() for name in names)
    own = select(mappings.c.kind, mappings.c.value).where(mappings.c.member_id == member)
    known = [(row.kind, row.value) for row in await connection.execute(own)]
    these = may_be_of(member, known) & (litellm_payer == member)
    await connection.execute(update(calls).where(these).values(nobody))
    for kind, value in known:
        for name in CALLERS.get(kind, ()):
            named = update(calls).where(calls.c[name] == value)
            await connection.execute(named.values({name: None}))
    await connection.execute(delete(mappings).where(mappings.c.member_id == member))


async def _forget_words(connection: AsyncConnection, member: MemberId) -> None:
    """Forget what the member's clients called their requests, and models that nobody knew: that is
    any text."""
    mine = usage.c.member_id == member
    named, unknown = usage.c.caller_id.is_not(None), usage.c.outcome == "model_not_found"
    await connection.execute(update(usage).where(mine, named).values(caller_id=None))
    await connection.execute(update(usage).where(mine, unknown).values(model=FORGOTTEN))


async def _change_each(
    connection: AsyncConnection, table: Table, member: MemberId, values: Mapping[str, object]
) -> int:
    """Change a member's rows one after another, and give how many there are.

    In the order of their ids, in which gateways that write several of them go, too: all at once
    they would be locked as they lie on the disk, and each could wait for the other.
    """
    found = await connection.scalars(select(table.c.id).where(table.c.member_id == member))
    rows = [{"row": each} for each in sorted(found)]
    if rows:
        this = update(table).where(table.c.id == bindparam("row"))
        await connection.execute(this.values(values), rows)
    return len(rows)


def _once(column: Column[datetime], now: datetime) -> ColumnElement[datetime]:
    """Keep the moment that stands there, or take this one."""
    return func.coalesce(column, literal(now, column.type))


__all__ = ["FORGOTTEN", "erase_member"]
