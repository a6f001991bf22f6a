"""What members submit is bounded, and each has its turn, on each database."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from tests.parts.batch_room import CHAT, Room, change, line

from garage_ai.accounts import Key, Members
from garage_ai.batch import (
    Batches,
    BatchLimit,
    BatchLimits,
    FileNotFound,
    Finalising,
    LineRefused,
    Submission,
)
from garage_ai.batch.holding import Hold
from garage_ai.gateway.batching import Desk
from garage_ai.storage import KeyId
from garage_ai.storage.tables import batches

pytestmark = pytest.mark.anyio


async def test_a_member_has_so_many_batches_under_way(bucket_room: Room) -> None:
    """One more is refused until another has ended, but what is sent again gives what it made."""
    room = bucket_room
    member, limits = room.key.member, BatchLimits(active=2, lines=100)
    room.batches = Batches(room.storage, room.keeper.wake, limits)
    first = await room.submit([line(1)])
    again = Submission(first.input_file_id, CHAT)
    second = await room.batches.submit(room.key, again, "once")
    with pytest.raises(BatchLimit) as caught:
        await room.batches.submit(room.key, again)
    assert caught.value.code == "batch_limit_exceeded"
    assert (await room.batches.submit(room.key, again, "once")).id == second.id
    assert len((await room.batches.list(member, 10)).batches) == 2
    await change(room, first, status="completed", due_at=None)
    await change(room, second, total=99)
    await room.batches.submit(room.key, again)
    await change(room, second, status="completed", completed=99)
    await room.batches.submit(room.key, again)


async def test_lines_under_way_are_bounded(bucket_room: Room) -> None:
    """Where enough lines wait for an answer no batch is taken."""
    room = bucket_room
    room.batches = Batches(room.storage, room.keeper.wake, BatchLimits(active=9, lines=100))
    first = await room.submit([line(1)])
    again = Submission(first.input_file_id, CHAT)
    await change(room, first, total=100)
    with pytest.raises(BatchLimit):
        await room.batches.submit(room.key, again)
    await change(room, first, completed=1)
    await room.batches.submit(room.key, again)


async def test_batches_that_come_at_once_wait_for_each_other(bucket_room: Room) -> None:
    """What was submitted before the others' lines were counted is read when there is room."""
    room = bucket_room
    first, second = await room.submit([line(1)]), await room.submit([line(1)])
    later = datetime.now(UTC) + timedelta(days=1)
    await change(room, first, status="in_progress", total=1000, due_at=later)
    soon = select(batches.c.due_at).where(batches.c.id == second.id)
    async with room.storage.read() as connection:
        due = before = await connection.scalar(soon)
    room.keeper.start()
    async with asyncio.timeout(30):
        while due == before:
            async with room.storage.read() as connection:
                due = await connection.scalar(soon)
    await room.rests()
    waiting = await room.batches.get(room.key.member, second.id)
    assert (waiting.status, waiting.total, await room.items(second)) == ("validating", 0, 0)
    await change(room, first, completed=1, due_at=later)
    await change(room, second, due_at=datetime.now(UTC))
    assert (await room.ends(second, "in_progress")).total == 1


async def test_a_submission_outlives_its_file(bucket_room: Room) -> None:
    """What is sent again gives its batch, also when that has ended and its file is deleted."""
    room = bucket_room
    unused = await room.submit([line(1)])
    asked = Submission(unused.input_file_id, CHAT)
    made = await room.batches.submit(room.key, asked, "once")
    for batch in (unused, made):
        await change(room, batch, status="completed", due_at=None)
    await room.files.delete(room.key, asked.input_file_id)
    assert (await room.batches.submit(room.key, asked, "once")).id == made.id
    with pytest.raises(FileNotFound):
        await room.batches.submit(room.key, asked)


async def test_endings_come_first_and_members_take_turns(bucket_room: Room) -> None:
    """A member's many new batches keep neither ends nor other members' batches waiting."""
    room = bucket_room
    mine = [await room.submit([line(1)]) for _ in range(4)]
    other = await Members(room.storage).add("Other")
    await change(room, mine[3], member_id=other.id)
    await room.batches.cancel(room.key, mine[2].id)
    ending = await Hold.claim(room.storage, validating=False)
    assert ending is not None
    assert ending.batch.id == mine[2].id
    assert await Hold.claim(room.storage, validating=False) is None
    held = [await Hold.claim(room.storage) for _ in range(3)]
    assert [hold and hold.batch.id for hold in held] == [mine[0].id, mine[3].id, None]
    assert held[0] is not None
    await held[0].advance(status="in_progress", total=1, holder=None)
    following = await Hold.claim(room.storage)
    assert following is not None
    assert following.batch.id == mine[1].id


async def test_a_gateway_whose_clock_is_ahead_keeps_no_batch_waiting(bucket_room: Room) -> None:
    """Each step is due at once by the clock that all gateways share, at whichever it is taken."""
    room = bucket_room

    def ahead() -> datetime:
        return datetime.now(UTC) + timedelta(minutes=5)

    room.batches = Batches(room.storage, room.keeper.wake, clock=ahead)
    batch = await room.submit([line(1)])
    new = await Hold.claim(room.storage)
    assert new is not None
    await new.let_go(again_in=timedelta(hours=1))
    await room.batches.cancel(room.key, batch.id)
    ending = await Hold.claim(room.storage, validating=False)
    assert ending is not None
    await Finalising(room.storage, room.files, room.books, clock=ahead).run(ending)
    ended = await Hold.claim(room.storage, validating=False)
    assert ended is not None
    assert (ended.batch.id, ended.batch.status) == (batch.id, "cancelled")


async def test_a_key_that_is_not_known_here_yet_is_waited_for(
    bucket_room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another gateway made it a moment ago, or its member may come back; one that is over fails."""
    room, codes = bucket_room, ["invalid_api_key", "member_suspended"]
    find = Desk.key

    def key(desk: Desk, key_id: KeyId) -> Key:
        if codes:
            raise LineRefused(codes.pop(0), "not now")
        return find(desk, key_id)

    monkeypatch.setattr(Desk, "key", key)
    batch = await room.submit([line(1)])
    room.keeper.start()
    for left in (1, 0):
        await room.until(batch, lambda _, left=left: len(codes) == left)  # type: ignore[misc]
        await room.rests()
        await change(room, batch, due_at=datetime.now(UTC))
    assert (await room.ends(batch, "in_progress")).total == 1
    for code in ("revoked_api_key", "expired_api_key"):
        codes.append(code)
        failed = await room.ends(await room.submit([line(1)]), "failed")
        assert [error.code for error in failed.errors] == [code]
