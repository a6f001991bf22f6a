"""Members' files are bounded, and go when they are needed no more, on each database."""

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update
from tests.parts.batch_room import Room, line

from garage_ai.batch import (
    FileNotFound,
    FileSpaceFull,
    FileStoreUnavailable,
    FileTooLarge,
    Folder,
    TooManyLines,
)
from garage_ai.storage.tables import files

pytestmark = pytest.mark.anyio


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


async def test_one_file_that_stays_keeps_no_other(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be deleted now is tried again; the others are swept away."""
    names = ["a", "b", "c"]
    kept = []
    for name in names:
        async with await room.files.upload(room.key, name) as upload:
            await upload.write(b"x")
            kept.append((await upload.keep()).place)
    real = Folder.delete

    async def failing(self: Folder, place: str) -> None:
        if place == kept[0]:
            raise FileStoreUnavailable("busy")
        await real(self, place)

    async with room.storage.write() as connection:
        over = datetime.now(UTC) - timedelta(seconds=1)
        await connection.execute(update(files).values(expires_at=over))
    with monkeypatch.context() as patched:
        patched.setattr(Folder, "delete", failing)
        assert await room.files.sweep() == 2
        assert [path.name for path in room.folder.iterdir()] == kept[:1]
        with pytest.raises(FileStoreUnavailable):
            await room.files.sweep()
    assert await room.files.sweep() == 1
    assert list(room.folder.iterdir()) == []


async def test_files_go_when_their_time_is_over(room: Room) -> None:
    """Expired files are swept away with their bytes, but not while a batch reads them."""
    batch = await room.ends(await room.submit([line(1)]), "in_progress")
    over = datetime.now(UTC) - timedelta(seconds=1)
    async with room.storage.write() as connection:
        await connection.execute(update(files).values(expires_at=over))
    assert await room.files.sweep() == 0
    await room.batches.cancel(room.key, batch.id)
    ended = await room.ends(batch, "cancelled")
    assert await room.files.sweep() == 1
    assert [path.name for path in room.folder.iterdir()] == [ended.error_file_id]


async def test_half_made_files_are_swept(room: Room) -> None:
    """What a killed gateway did not get to keep is gone a day later."""
    file = await room.files.begin(room.key.member, room.key.id, "in")
    writing = await room.files.store.create(file.place)
    await writing.write(b"x")
    await writing.commit()
    assert await room.files.sweep() == 0
    async with room.storage.write() as connection:
        long_ago = datetime.now(UTC) - timedelta(days=2)
        await connection.execute(update(files).values(created_at=long_ago))
    assert await room.files.sweep() == 1
    assert list(room.folder.iterdir()) == []
