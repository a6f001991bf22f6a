"""Members' files are bounded, and go when they are needed no more, on each database."""

from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update
from tests.parts.batch_room import CHAT, Room, change, line

from garage_ai.accounts import MemberErased, Members
from garage_ai.batch import (
    FileNotFound,
    FileSpaceFull,
    FileStoreUnavailable,
    FileTooLarge,
    Folder,
    StoredFile,
    Submission,
    TooManyLines,
)
from garage_ai.batch.store import _FolderWriting
from garage_ai.storage.tables import files

pytestmark = pytest.mark.anyio


async def keep(room: Room, name: str) -> StoredFile:
    """Upload a small file."""
    async with await room.files.upload(room.key, name) as upload:
        await upload.write(b"x")
        return await upload.keep()


async def expire(room: Room) -> None:
    """Let the time of all files be over, and of what is left of others."""
    over = datetime.now(UTC) - timedelta(seconds=1)
    async with room.storage.write() as connection:
        await connection.execute(update(files).values(expires_at=over))


async def test_bounds_of_a_file(room: Room) -> None:
    """Too many bytes or lines are refused while they come, and nothing of them is kept."""
    for data, refusal in (
        (b"x" * 200_001, FileTooLarge),
        (b"\n" * 1000 + b"x", TooManyLines),
    ):
        async with await room.files.upload(room.key, "in") as upload:
            with pytest.raises(refusal):
                await upload.write(data)
    async with room.storage.read() as connection:
        assert (await connection.execute(select(files))).all() == []
    assert list(room.folder.iterdir()) == []


async def test_a_members_space_is_bounded(room: Room) -> None:
    """Uploads that began together do not get past the bound together."""
    async with (
        await room.files.upload(room.key, "a", 150_000) as first,
        await room.files.upload(room.key, "b") as second,
    ):
        with pytest.raises(FileSpaceFull):
            await room.files.upload(room.key, "c", 50_001)
        async with await room.files.upload(room.key, "d") as third:
            await third.write(b"x" * 50_000)
            with pytest.raises(FileSpaceFull):
                await third.write(b"x")
        await first.write(b"x" * 100_000)
        await first.keep()
        await second.write(b"x" * 200_000)
    async with await room.files.upload(room.key, "e", 200_000) as upload:
        await upload.write(b"x" * 200_000)
        await upload.keep()
    kept = await room.files.list(room.key.member, 10)
    assert [(file.filename, file.bytes) for file in kept.files] == [("e", 200_000), ("a", 100_000)]


@pytest.mark.parametrize("broken", ["create", "write"])
async def test_an_upload_that_finds_no_store_sets_no_space_aside(
    room: Room, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Not while the store is away, and not while its bytes cannot be thrown away."""
    await room.keeper.close()  # it sweeps, too

    async def failing(*_: object) -> None:
        raise FileStoreUnavailable("away")

    async def staying(self: _FolderWriting) -> None:
        self._file.close()
        raise FileStoreUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(Folder, "delete", failing)
        if broken == "create":
            patched.setattr(Folder, "create", failing)
        patched.setattr(_FolderWriting, "write", failing)
        patched.setattr(_FolderWriting, "abort", staying)
        for _ in range(3):
            with pytest.raises(FileStoreUnavailable):
                async with await room.files.upload(room.key, "in", 200_000) as upload:
                    await upload.write(b"x")
    async with await room.files.upload(room.key, "in", 200_000) as upload:
        await upload.write(b"x")
        kept = await upload.keep()
    assert (await room.files.list(room.key.member, 10)).files == [kept]
    assert await room.files.sweep() == 3
    assert [path.name for path in room.folder.iterdir()] == [kept.place]


async def test_a_member_has_so_many_files(room: Room) -> None:
    """However small they are, files on their way too."""
    async with AsyncExitStack() as stack:
        for n in range(20):
            await stack.enter_async_context(await room.files.upload(room.key, f"f{n}", 1))
        with pytest.raises(FileSpaceFull):
            await room.files.upload(room.key, "one more", 1)
    await room.submit([line(1)])


async def test_an_upload_of_somebody_erased_leaves_nothing(room: Room) -> None:
    """A file whose row was doomed or is gone is not kept, and its bytes go."""
    async with await room.files.upload(room.key, "in") as upload:
        await upload.write(b"x")
        async with room.storage.write() as connection:
            await connection.execute(update(files).values(status="deleting"))
        with pytest.raises(FileNotFound):
            await upload.keep()
    assert list(room.folder.iterdir()) == []


async def test_nothing_begins_of_somebody_erased(room: Room) -> None:
    """A gateway that has not heard of it yet lets the key in: its file would stay for a month."""
    members = Members(room.storage)
    anna = await members.add("Anna")
    key = replace(room.key, member=anna.id)
    async with await room.files.upload(key, "in") as upload:
        await upload.keep()
    await members.erase(anna.id, "Anna")
    with pytest.raises(MemberErased):
        await room.files.upload(key, "in")


async def test_one_file_that_stays_keeps_no_other(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be deleted now is tried again; the others are swept away."""
    await room.keeper.close()  # it sweeps, too
    kept = [(await keep(room, name)).place for name in ("a", "b", "c")]
    real = Folder.delete

    async def failing(self: Folder, place: str) -> None:
        if place == kept[0]:
            raise FileStoreUnavailable("busy")
        await real(self, place)

    await expire(room)
    with monkeypatch.context() as patched:
        patched.setattr(Folder, "delete", failing)
        assert await room.files.sweep() == 2
        assert [path.name for path in room.folder.iterdir()] == kept[:1]
        with pytest.raises(FileStoreUnavailable):
            await room.files.sweep()
    assert await room.files.sweep() == 1
    assert list(room.folder.iterdir()) == []


async def test_what_is_deleted_is_gone_though_its_bytes_cannot_be_removed_yet(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that tries again would be told that there never was such a file."""
    await room.keeper.close()  # it sweeps, too
    file = await keep(room, "a")

    async def failing(self: Folder, place: str) -> None:
        raise FileStoreUnavailable("busy")

    with monkeypatch.context() as patched:
        patched.setattr(Folder, "delete", failing)
        await room.files.delete(room.key, file.id)
    with pytest.raises(FileNotFound):
        await room.files.get(room.key.member, file.id)
    assert await room.files.sweep() == 1
    assert list(room.folder.iterdir()) == []


async def test_files_go_when_their_time_is_over(room: Room) -> None:
    """Expired files are swept away with their bytes, but not while a batch reads them."""
    batch = await room.ends(await room.submit([line(1)]), "in_progress")
    await expire(room)
    assert await room.files.sweep() == 0
    await room.batches.cancel(room.key, batch.id)
    ended = await room.ends(batch, "cancelled")
    assert await room.files.sweep() == 1
    assert [path.name for path in room.folder.iterdir()] == [ended.error_file_id]


async def test_a_file_whose_time_is_over_is_gone_at_once(room: Room) -> None:
    """Whether it was swept away or not; a batch that came before reads it to its end."""
    await room.keeper.close()
    batch = await room.submit([line(1)])
    file, member = batch.input_file_id, room.key.member
    await change(room, batch, created_at=batch.created_at - timedelta(seconds=2))
    await expire(room)
    for asked in (
        room.files.get(member, file),
        room.files.content(member, file),
        room.files.delete(room.key, file),
        room.batches.submit(room.key, Submission(file, CHAT)),
    ):
        with pytest.raises(FileNotFound):
            await asked
    assert (await room.files.list(member, 10)).files == []
    room.keeper.start()
    assert (await room.ends(batch, "in_progress")).total == 1


async def test_a_file_that_is_gone_keeps_its_place_for_a_day(room: Room) -> None:
    """A list goes on from behind it, for its member alone, in either order, and without a name."""
    await room.keeper.close()  # it sweeps, too
    kept = [await keep(room, name) for name in "abcde"]
    await room.files.delete(room.key, kept[2].id)
    newer = await room.files.list(room.key.member, 10, kept[2].id, order="asc")
    older = await room.files.list(room.key.member, 10, kept[2].id, order="desc")
    assert (newer.files, older.files) == (kept[3:], kept[1::-1])
    stranger = await Members(room.storage).add("Other")
    for member, after in ((stranger.id, kept[2].id), (room.key.member, "file-never")):
        with pytest.raises(FileNotFound):
            await room.files.list(member, 10, after)
    await expire(room)
    assert await room.files.sweep() == len(kept)
    assert (await room.files.list(room.key.member, 10, kept[4].id)).files == []
    async with room.storage.read() as connection:
        rows = (await connection.execute(select(files))).all()
    assert {(row.filename, row.bytes) for row in rows} == {("", 0)}
    await expire(room)
    assert await room.files.sweep() == len(kept) - 1
    with pytest.raises(FileNotFound):
        await room.files.list(room.key.member, 10, kept[4].id)


async def test_half_made_files_are_swept(room: Room) -> None:
    """What a killed gateway did not get to keep is gone when it can be on its way no more."""
    await room.keeper.close()  # it sweeps, too
    file = await room.files.begin(room.key.member, room.key.id, "out")
    writing = await room.files.store.create(file.place)
    await writing.write(b"x")
    await writing.commit()
    upload = await room.files.begin(room.key.member, room.key.id, "in")
    async with room.storage.write() as connection:
        its = update(files).where(files.c.id == upload.id)
        await connection.execute(its.values(purpose="batch"))
    for hours, swept in ((0, 0), (1, 0), (2, 1), (5, 0), (7, 1)):
        async with room.storage.write() as connection:
            then = datetime.now(UTC) - timedelta(hours=hours)
            await connection.execute(update(files).values(created_at=then))
        assert await room.files.sweep() == swept
    assert list(room.folder.iterdir()) == []
