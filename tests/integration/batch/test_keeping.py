"""A batch comes to its end once, whoever is killed on the way, on each database."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select, update
from tests.parts.batch_room import Room, change, line
from tests.parts.batch_worker import finish, work
from tests.parts.locks import until_somebody_waits

from garage_ai.accounts.erasure import erase_member
from garage_ai.batch import (
    Batch,
    BatchEnded,
    Files,
    FileStoreUnavailable,
    Folder,
    holding,
)
from garage_ai.batch.finalising import ResultFile
from garage_ai.batch.holding import Hold, HoldLost
from garage_ai.batch.requests import Line, LineSplitter
from garage_ai.storage.tables import batch_items, batches, leases

pytestmark = pytest.mark.anyio


async def test_an_ended_batch_leaves_no_items(room: Room) -> None:
    """What is in the files is no longer in the database, and the promise is given back."""
    batch = await room.ends(await room.submit([line(n) for n in range(600)]), "in_progress")
    assert (batch.total, batch.reserved, room.books.taken) == (600, 600, 600)
    assert await work(room.storage, batch.id) == 600
    ended = await room.ends(batch, "completed")
    await room.cleared(batch)
    names = [each["custom_id"] for each in await room.read(ended.output_file_id)]
    assert names == [f"r{n}" for n in range(600)]
    assert ended.error_file_id is None
    assert batch.id in room.books.released


async def test_too_dear_a_batch_fails(room: Room) -> None:
    """What may cost more than there is does not begin."""
    failed = await room.ends(await room.submit([line(1, tokens=2000)]), "failed")
    assert [error.code for error in failed.errors] == ["insufficient_quota"]
    assert (failed.total, failed.reserved) == (0, 0)


async def test_who_cancels_what_is_just_ending_is_told_so(room: Room) -> None:
    """Another gateway's step that is not committed yet is waited for, and not undone."""
    await room.keeper.close()
    batch = await room.submit([line(1)])
    async with room.storage.write() as connection:
        ended = update(batches).where(batches.c.id == batch.id)
        await connection.execute(ended.values(status="completed", due_at=None))
        cancelling = asyncio.create_task(room.batches.cancel(room.key, batch.id))
        await until_somebody_waits(connection)
    with pytest.raises(BatchEnded):
        await cancelling
    assert (await room.batches.get(room.key.member, batch.id)).status == "completed"


async def test_a_batch_cancelled_before_it_begins_has_set_nothing_aside(
    bucket_room: Room,
) -> None:
    """What its lines that were read by then might have cost is told no more."""
    room = bucket_room
    batch = await room.submit([line(1), line(2)])
    await change(room, batch, total=1, reserved=1)
    await room.batches.cancel(room.key, batch.id)
    room.keeper.start()
    cancelled = await room.ends(batch, "cancelled")
    assert (cancelled.total, cancelled.reserved, room.books.taken) == (0, 0, 0)


async def test_the_window_ends_without_an_engine(room: Room) -> None:
    """A batch that was to have its own and was answered nothing says so, not that it was late."""
    batch = await room.ends(await room.submit([line(1)]), "in_progress")
    over = datetime.now(UTC) - timedelta(seconds=1)
    await change(room, batch, isolation="dedicated", expires_at=over, due_at=over)
    expired = await room.ends(batch, "expired")
    (lost,) = await room.read(expired.error_file_id)
    assert isinstance(error := lost["error"], dict)
    assert error["code"] == "isolation_unavailable"


async def test_the_window_ends(room: Room) -> None:
    """After the window what was answered is there, and the rest is told as expired."""
    batch = await room.ends(await room.submit([line(1), line(2), line(3)]), "in_progress")
    assert await finish(room.storage, batch.id, 2, "r2")
    over = datetime.now(UTC) - timedelta(seconds=1)
    await change(room, batch, expires_at=over, due_at=over)
    expired = await room.ends(batch, "expired")
    assert (expired.total, expired.completed, expired.failed) == (3, 1, 2)
    assert expired.finalizing_at is not None
    lost = await room.read(expired.error_file_id)
    assert [each["custom_id"] for each in lost] == ["r1", "r3"]
    assert {error["code"] for each in lost if isinstance(error := each["error"], dict)} == {
        "batch_expired"
    }


async def test_what_runs_may_end(room: Room) -> None:
    """A cancelled batch waits for an item that a worker has, and takes its result."""
    batch = await room.ends(await room.submit([line(1), line(2)]), "in_progress")
    own = (batch_items.c.batch_id == batch.id) & (batch_items.c.line == 1)
    async with room.storage.write() as connection:
        await connection.execute(update(batch_items).where(own).values(state="leased"))
    await room.batches.cancel(room.key, batch.id)
    await room.until(batch, lambda seen: seen.status == "cancelling")
    assert await finish(room.storage, batch.id, 1, "r1")
    cancelled = await room.ends(batch, "cancelled")
    assert (cancelled.completed, cancelled.failed) == (1, 1)


async def test_who_lost_a_batch_writes_nothing(room: Room) -> None:
    """A gateway that was away too long is refused, and another one ends the batch."""
    await room.keeper.close()
    batch = await room.submit([line(1)])
    slow = await Hold.claim(room.storage)
    assert slow is not None
    assert await Hold.claim(room.storage) is None
    await change(room, batch, due_at=datetime.now(UTC))
    quick = await Hold.claim(room.storage)
    assert quick is not None
    with pytest.raises(HoldLost):
        await slow.advance(total=7)
    await quick.advance(total=1)
    assert (await room.batches.get(room.key.member, batch.id)).total == 1


async def test_validation_goes_on_where_it_was(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a gateway is gone in the middle, the next makes each item once and misses no fault."""
    lines = [line(n) for n in range(700)]
    lines[650] = b"{"
    broken = asyncio.Event()
    real = Hold.change

    async def failing(self: Hold, connection: object, values: object = None) -> None:
        if self.batch.total >= 250 and not broken.is_set():
            broken.set()
            raise FileStoreUnavailable("gone")
        await real(self, connection, values)  # type: ignore[arg-type]

    monkeypatch.setattr(Hold, "change", failing)
    good = await room.submit(lines[:650])
    async with asyncio.timeout(30):
        await broken.wait()
    await change(room, good, due_at=datetime.now(UTC))
    begun = await room.ends(good, "in_progress")
    assert begun.total == 650
    assert await room.items(good) == 650
    bad = await room.ends(await room.submit(lines), "failed")
    assert [(error.line, error.code) for error in bad.errors] == [(651, "invalid_json_line")]
    assert (bad.total, bad.reserved) == (0, 0)  # nothing was set aside for what came before


async def test_validation_goes_on_behind_the_last_item(bucket_room: Room) -> None:
    """A gateway that is gone after the last item costs nothing, also where files are in a bucket.

    A bucket gives nothing from behind the last byte, but an error.
    """
    room = bucket_room
    batch = await room.submit([line(1), b""])
    held = await Hold.claim(room.storage)
    assert held is not None
    async with room.storage.write() as connection:
        row = {"batch_id": batch.id, "line": 1, "custom_id": "r1", "offset": 0, "hold": 0}
        queued = {"length": len(line(1)), "state": "queued", "attempts": 0, "epoch": 0}
        await connection.execute(insert(batch_items).values(row | queued))
        await held.change(connection, {"total": 1})
    await held.let_go()
    room.keeper.start()
    begun = await room.ends(batch, "in_progress")
    assert (begun.total, await room.items(batch), room.keeper.failures) == (1, 1, 0)


async def test_lines_are_cut_beside_the_loop(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of empty lines is cut in other threads: a piece of it would hold up all chats."""
    threads: set[int] = set()
    real = LineSplitter.feed

    def watched(self: LineSplitter, piece: bytes) -> Iterator[Line]:
        threads.add(threading.get_ident())
        yield from real(self, piece)

    monkeypatch.setattr(LineSplitter, "feed", watched)
    await room.ends(await room.submit([b""] * 500 + [line(1)]), "in_progress")
    assert threads
    assert threading.get_ident() not in threads


async def test_what_takes_long_is_held(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that says nothing for long keeps its batch, until somebody cancels that."""
    monkeypatch.setattr(holding, "RENEW_SECONDS", 0.05)
    begun, ended = asyncio.Event(), asyncio.Event()

    async def take(_batch: Batch) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr(room.books, "take", take)
    batch = await room.submit([line(1)])
    due = select(batches.c.due_at).where(batches.c.id == batch.id)
    async with asyncio.timeout(30):
        await begun.wait()
        async with room.storage.read() as connection:
            first = later = await connection.scalar(due)
        while later == first:
            async with room.storage.read() as connection:
                later = await connection.scalar(due)
    assert first is not None
    assert later is not None
    assert later > first
    assert not ended.is_set()
    await room.batches.cancel(room.key, batch.id)
    await room.ends(batch, "cancelled")
    async with asyncio.timeout(30):
        await ended.wait()
    assert room.keeper.failures == 0


async def test_files_of_an_end_in_doubt_stay(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that stops when the end is committed removes nothing of what it committed."""
    batch = await room.ends(await room.submit([line(1)]), "in_progress")
    stopped = asyncio.Event()

    def stop(_self: ResultFile) -> None:
        stopped.set()
        raise asyncio.CancelledError

    monkeypatch.setattr(ResultFile, "keep", stop)
    await work(room.storage, batch.id)
    room.keeper.wake()
    async with asyncio.timeout(30):
        await stopped.wait()
    await room.rests()
    ended = await room.batches.get(room.key.member, batch.id)
    assert ended.status == "completed"
    assert len(await room.read(ended.output_file_id)) == 1


async def test_a_batch_ends_while_its_member_is_erased(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither waits for the other: both have the batch before its files."""
    finish, written, may_go_on = ResultFile.finish, asyncio.Event(), asyncio.Event()

    async def pause(self: ResultFile) -> None:
        await finish(self)
        written.set()
        await may_go_on.wait()

    async def erase() -> None:
        async with room.storage.write(in_turn=True) as erasing:
            await erase_member(erasing, room.key.member, datetime.now(UTC))

    monkeypatch.setattr(ResultFile, "finish", pause)
    batch = await room.ends(await room.submit([line(1)]), "in_progress")
    await work(room.storage, batch.id)
    room.keeper.wake()
    async with asyncio.timeout(30):
        await written.wait()
    async with room.storage.write() as connection:
        its = select(batches.c.id).where(batches.c.id == batch.id)
        await connection.execute(its.with_for_update())
        erasing = asyncio.create_task(erase())
        await until_somebody_waits(connection)
        may_go_on.set()
        await until_somebody_waits(connection, 2)
    await erasing
    assert (await room.batches.get(room.key.member, batch.id)).status == "cancelled"
    await room.cleared(batch)
    assert room.keeper.failures == 0


async def test_what_cannot_be_read_ends_with_its_window(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch whose file is not to be had is looked at again, and fails when its time is over."""

    async def away(*_given: object) -> AsyncIterator[bytes]:
        raise FileStoreUnavailable("gone")
        yield b""

    monkeypatch.setattr(Folder, "stream", away)
    batch = await room.submit([line(1)])
    await room.until(batch, lambda _: room.keeper.failures > 0)
    await room.rests()
    over = datetime.now(UTC) - timedelta(seconds=1)
    await change(room, batch, expires_at=over, due_at=over)
    failed = await room.ends(batch, "failed")
    assert [error.code for error in failed.errors] == ["batch_expired"]


async def test_a_late_promise_is_given_back(bucket_room: Room) -> None:
    """What was set aside when its batch had ended does not stay with the batch for a month."""
    room = bucket_room
    ended, running = await room.submit([line(1)]), await room.submit([line(1)])
    await change(room, ended, status="cancelled", due_at=None)
    later = datetime.now(UTC) + timedelta(days=30)
    await change(room, running, status="in_progress", total=1, due_at=later)
    lease = {"gateway": "batch", "payer": "member:x", "amount": 5, "settled": 0, "state": "open"}
    async with room.storage.write() as connection:
        for batch in (ended, running):
            row = {"id": batch.id, "expires_at": later, **lease}
            await connection.execute(insert(leases).values(row))
    room.keeper.start()
    await room.until(ended, lambda _: bool(room.books.released))
    assert room.books.released == [ended.id]


async def test_files_are_written_once(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finaliser that is gone before the end leaves nothing to see; the next begins anew."""
    batch = await room.ends(await room.submit([line(n) for n in range(5)]), "in_progress")
    broken = asyncio.Event()
    real = Files.register

    async def failing(self: Files, *given: object) -> None:
        if not broken.is_set():
            broken.set()
            raise FileStoreUnavailable("gone")
        await real(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Files, "register", failing)
    await work(room.storage, batch.id, fails=frozenset({3}))
    async with asyncio.timeout(30):
        await broken.wait()
    seen = await room.batches.get(room.key.member, batch.id)
    assert (seen.status, seen.output_file_id) == ("finalizing", None)
    assert not await finish(room.storage, batch.id, 3, "r3")
    await change(room, batch, due_at=datetime.now(UTC))
    ended = await room.ends(batch, "completed")
    made = await room.files.list(room.key.member, 10, purpose="batch_output")
    assert {file.id for file in made.files} == {ended.output_file_id, ended.error_file_id}
    assert len(await room.read(ended.output_file_id)) == 4
    kept = {path.name for path in room.folder.iterdir()}
    assert kept == {batch.input_file_id, ended.output_file_id, ended.error_file_id}


async def test_a_line_too_long_is_a_fault_of_its_line(room: Room) -> None:
    """A line beyond the bound is told by its number; none of it is held."""
    failed = await room.ends(
        await room.submit([line(1), line(2, text="x" * 30_000), line(3)]), "failed"
    )
    assert [(error.line, error.code) for error in failed.errors] == [(2, "invalid_request")]
