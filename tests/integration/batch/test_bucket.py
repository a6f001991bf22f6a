"""A bucket on a server that speaks S3, as a setting names it; and a server that does not answer."""

import os
from collections.abc import AsyncIterator, Iterator
from typing import Final

import pytest
from tests.parts.relay import Relay
from tests.parts.s3 import S3, URL

from garage_ai.batch import FileStoreUnavailable
from garage_ai.batch import bucket as bucket_module
from garage_ai.batch.bucket import Bucket

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(300)]

PART: Final = 8 * 1024 * 1024
LARGE: Final = os.urandom(2 * PART + 1_000_000)
"""More than two parts."""


@pytest.fixture
def relay(s3: S3) -> Iterator[Relay]:
    """Stand between a bucket and its server."""
    relay = Relay(s3.port)
    yield relay
    relay.close()


@pytest.fixture
def place(request: pytest.FixtureRequest) -> str:
    """Name this test's file."""
    return f"file-of-{request.node.name}"


@pytest.fixture
def bucket(s3: S3, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """The server's bucket, behind the relay."""
    for name, value in s3.environment(relay.port).items():
        monkeypatch.setenv(name, value)
    return Bucket.at(URL)


async def write(bucket: Bucket, place: str, data: bytes) -> None:
    """Put a file there, in pieces as an upload brings them."""
    writing = await bucket.create(place)
    for start in range(0, len(data), 256 * 1024):
        await writing.write(data[start : start + 256 * 1024])
    await writing.commit()


async def whole(pieces: AsyncIterator[bytes]) -> bytes:
    """Read to the end."""
    return b"".join([piece async for piece in pieces])


async def refused(bucket: Bucket, place: str) -> set[str]:
    """Do all that can be done with a file there; each is refused, and the reasons are given."""
    doing = (
        write(bucket, f"{place}-small", b"small"),
        write(bucket, f"{place}-large", LARGE),
        bucket.read(place, 0, 10),
        whole(bucket.stream(place)),
        bucket.delete(place),
    )
    reasons = set()
    for each in doing:
        with pytest.raises(FileStoreUnavailable) as caught:
            await each
        reasons.add(str(caught.value))
    return reasons


async def test_a_large_file_comes_in_parts(s3: S3, bucket: Bucket, place: str) -> None:
    """It is one object when they are put together, is read as it was written, and goes."""
    await write(bucket, place, LARGE)
    assert s3.objects()[f"files/{place}"].endswith("-3")
    assert await whole(bucket.stream(place)) == LARGE
    assert await whole(bucket.stream(place, PART - 1)) == LARGE[PART - 1 :]
    assert await bucket.read(place, PART - 5, 10) == LARGE[PART - 5 : PART + 5]
    assert await bucket.read(place, len(LARGE) - 5, 10) == LARGE[-5:]
    await bucket.delete(place)
    assert f"files/{place}" not in s3.objects()


@pytest.mark.parametrize(
    "wrong",
    [
        ("AWS_ACCESS_KEY_ID", "InvalidAccessKeyId"),
        ("AWS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch"),
    ],
)
async def test_a_key_that_opens_nothing(
    s3: S3, bucket: Bucket, place: str, monkeypatch: pytest.MonkeyPatch, wrong: tuple[str, str]
) -> None:
    """All is refused as S3 calls it, and what is there stays."""
    name, reason = wrong
    await write(bucket, place, b"kept")
    before = s3.objects()
    monkeypatch.setenv(name, "another")
    assert await refused(Bucket.at(URL), place) == {reason}
    assert s3.objects() == before
    assert await bucket.read(place, 0, 10) == b"kept"


async def test_a_bucket_that_is_not_there(bucket: Bucket, place: str) -> None:
    """Whoever reads the log is told so."""
    nowhere = Bucket.at("s3://nowhere")
    with pytest.raises(FileStoreUnavailable, match="NoSuchBucket"):
        await write(nowhere, place, LARGE)


async def test_a_server_that_is_away(s3: S3, bucket: Bucket, relay: Relay, place: str) -> None:
    """All is refused in seconds, nothing is lost, and all goes on when it is back."""
    await write(bucket, place, b"kept")
    relay.cut()
    assert await refused(bucket, place) <= {"GenericError", "OSError"}
    relay.mend()
    assert await bucket.read(place, 0, 10) == b"kept"
    await write(bucket, f"{place}-large", LARGE)
    assert await whole(bucket.stream(f"{place}-large")) == LARGE


async def test_a_server_that_says_nothing(
    s3: S3, relay: Relay, place: str, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given up once it has been silent for the time that is given to it."""
    await write(bucket, place, b"kept")
    monkeypatch.setitem(bucket_module._CLIENT, "read_timeout", "200ms")
    hasty = Bucket.at(URL)
    relay.swallow()
    assert await refused(hasty, place) <= {"GenericError", "OSError"}
    relay.mend()
    assert await hasty.read(place, 0, 10) == b"kept"


async def test_half_of_a_file_is_none(bucket: Bucket, relay: Relay, place: str) -> None:
    """Who reads a file whose server goes away hears of it, and takes no part for the whole."""
    await write(bucket, place, LARGE)
    pieces = bucket.stream(place)
    assert LARGE.startswith(await anext(pieces))
    relay.cut()
    with pytest.raises(FileStoreUnavailable):
        await whole(pieces)
