"""Files in a bucket that speaks S3.

Whose it is and where stands in the variables that every tool for S3 reads: `AWS_ENDPOINT_URL`,
`AWS_REGION`, `AWS_ACCESS_KEY_ID` and the others. What a killed gateway left half uploaded is not
seen and is best cleared away by a rule of the bucket's own (AbortIncompleteMultipartUpload).
"""

import contextlib
import re
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self, TypeVar

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from garage_ai.batch.store import CHUNK, Writing, unavailable

if TYPE_CHECKING:
    from obstore import AsyncWritableFile, GetOptions
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

_Given = TypeVar("_Given")

_PART: Final = 8 * 1024 * 1024
"""Bytes of a part; S3 takes 10,000 parts of at least 5 MiB."""

_CODE: Final = re.compile(r"<Code>(\w{1,64})</Code>")
"""What S3 calls an error, as `NoSuchBucket`; the rest of its words may name a key."""


# `timeout` runs until a body has ended, however well it comes: it is as long as the slowest
# transfer of a file. What hears nothing is given up by `read_timeout`, which each read begins anew.
_CLIENT: Final["ClientConfig"] = {
    "connect_timeout": "5s",
    "read_timeout": "60s",
    "timeout": "1h",
    "allow_http": True,
}


class Bucket:
    """Files in a store of objects."""

    def __init__(self, store: "ObjectStore") -> None:
        self._store = store

    @classmethod
    def at(cls, url: str) -> Self:
        """Keep files below a prefix of a bucket, `s3://BUCKET/PREFIX`."""
        retries: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=60)}
        return cls(S3Store.from_url(url, client_options=_CLIENT, retry_config=retries))

    async def create(self, place: str) -> Writing:
        """Begin a file; the bucket hears of it with the first part."""
        return _BucketWriting(
            obstore.open_writer_async(self._store, place, buffer_size=_PART, max_concurrency=2)
        )

    async def read(self, place: str, offset: int, length: int) -> bytes:
        """Give a part of a file. Raises: FileStoreUnavailable."""
        got = obstore.get_range_async(self._store, place, start=offset, length=length)
        return bytes(await _told(got))

    async def stream(self, place: str, offset: int = 0) -> AsyncIterator[bytes]:
        """Give a file in pieces. Raises: FileStoreUnavailable."""
        options: GetOptions = {"range": {"offset": offset}} if offset else {}
        got = await _told(obstore.get_async(self._store, place, options=options))
        pieces = got.stream(min_chunk_size=CHUNK)
        while (piece := await _told(anext(pieces, None))) is not None:
            yield bytes(piece)

    async def delete(self, place: str) -> None:
        """Remove a file. Raises: FileStoreUnavailable."""
        await _told(_delete(self._store, place))


class _BucketWriting:
    """A file whose parts are in the bucket, and which is there when they are put together."""

    def __init__(self, file: "AsyncWritableFile") -> None:
        self._file = file

    async def write(self, data: bytes) -> None:
        await _told(self._file.write(data))

    async def commit(self) -> None:
        await _told(self._file.close())

    async def abort(self) -> None:
        """Leave the parts to the bucket's own rule: they are in no file."""


async def _delete(store: "ObjectStore", place: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        await obstore.delete_async(store, place)


async def _told(work: Awaitable[_Given]) -> _Given:
    """Wait for the bucket. Raises: FileStoreUnavailable."""
    try:
        return await work
    except (BaseError, OSError) as error:
        code = _CODE.search(str(error))
        raise unavailable(type(error).__name__ if code is None else code[1]) from error


__all__ = ["Bucket"]
