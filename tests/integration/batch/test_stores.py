"""A folder and a bucket keep files alike."""

from pathlib import Path

import pytest
from obstore.store import LocalStore, MemoryStore
from tests.integration.batch.conftest import ON_SERVER
from tests.parts.s3 import S3, URL

from garage_ai.batch import FileStore, FileStoreUnavailable, Folder
from garage_ai.batch.bucket import Bucket

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


KINDS = (
    "folder",
    "bucket in memory",
    "bucket on disk",
    pytest.param(ON_SERVER, marks=[pytest.mark.slow, pytest.mark.timeout(300)]),
)


@pytest.fixture(params=KINDS)
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FileStore:
    """Each kind of store, empty."""
    match request.param:
        case "folder":
            return Folder(tmp_path)
        case "bucket in memory":
            return Bucket(MemoryStore())
        case "bucket on disk":
            return Bucket(LocalStore(tmp_path))
        case _:
            server: S3 = request.getfixturevalue("s3")
            for name, value in server.environment().items():
                monkeypatch.setenv(name, value)
            return Bucket.at(f"{URL}/{tmp_path.name}")


async def written(store: FileStore, place: str, *pieces: bytes) -> None:
    """Put a file into a store."""
    writing = await store.create(place)
    for piece in pieces:
        await writing.write(piece)
    await writing.commit()


async def streamed(store: FileStore, place: str, offset: int = 0) -> bytes:
    """Read a file to its end."""
    return b"".join([piece async for piece in store.stream(place, offset)])


async def test_a_file_is_read_as_it_was_written(store: FileStore) -> None:
    """The whole of it, what lies behind an offset, and a part that may reach beyond its end."""
    whole = bytes(range(256)) * 4096
    await written(store, "a", whole[:700_000], whole[700_000:])
    assert await streamed(store, "a") == whole
    assert await streamed(store, "a", 300_001) == whole[300_001:]
    assert await streamed(store, "a", len(whole) - 1) == whole[-1:]
    assert await store.read("a", 5, 10) == whole[5:15]
    assert await store.read("a", len(whole) - 3, 10) == whole[-3:]


async def test_an_empty_file_is_a_file(store: FileStore) -> None:
    """A file of no bytes is there and ends at once."""
    await written(store, "a")
    assert await streamed(store, "a") == b""


async def test_a_file_is_there_when_it_is_whole(store: FileStore) -> None:
    """What is half written is not there, and what is thrown away never is."""
    writing = await store.create("a")
    await writing.write(b"half")
    with pytest.raises(FileStoreUnavailable):
        await streamed(store, "a")
    await writing.abort()
    with pytest.raises(FileStoreUnavailable):
        await store.read("a", 0, 4)


async def test_what_is_deleted_is_gone(store: FileStore) -> None:
    """Deleting once more, or what never was, changes nothing."""
    await written(store, "a", b"x")
    await store.delete("a")
    await store.delete("a")
    with pytest.raises(FileStoreUnavailable):
        await streamed(store, "a")
