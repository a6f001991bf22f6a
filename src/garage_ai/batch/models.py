"""Files and batches as they stand in the database, and the words of their states."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, NewType

import msgspec
from sqlalchemy import Row

from garage_ai.accounts import KeyId, MemberId
from garage_ai.wire.frames import Route

FileId = NewType("FileId", str)
"""`file-` and 32 hex digits."""

BatchId = NewType("BatchId", str)
"""`batch_` and 32 hex digits."""

Purpose = Literal["batch", "batch_output"]
FileStatus = Literal["uploading", "processed", "deleting", "deleted"]
Endpoint = Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]
Status = Literal[
    "validating",
    "failed",
    "in_progress",
    "finalizing",
    "completed",
    "expired",
    "cancelling",
    "cancelled",
]

DEDICATED: Final = "dedicated"
"""The isolation of a batch that runs in engines made for it alone."""

ROUTES: Final[Mapping[str, Route]] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
}
ACTIVE: Final[tuple[Status, ...]] = ("validating", "in_progress", "finalizing", "cancelling")
"""States in which a batch still needs its input file."""

UPLOAD_FOR: Final = timedelta(hours=1)
"""How long an upload may take: a gigabyte over a home line."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a member; `bytes` is its size, `place` its key in the file store."""

    id: FileId
    member: MemberId
    key_id: KeyId
    purpose: Purpose
    filename: str
    bytes: int
    status: FileStatus
    created_at: datetime
    expires_at: datetime | None
    place: str


class InputError(msgspec.Struct, frozen=True):
    """One thing that is wrong with an input file, in OpenAI's words; lines count from 1."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch; `expires_at` is the end of its completion window.

    `reserved` and `charged` are nGAI; what is charged is known while its lease is kept, and None
    where nothing is billed.
    """

    id: BatchId
    member: MemberId
    key_id: KeyId
    input_file_id: FileId
    output_file_id: FileId | None
    error_file_id: FileId | None
    endpoint: Endpoint
    model: str | None
    completion_window: str
    output_expires_s: int | None
    metadata: Mapping[str, str] | None
    isolation: str | None
    status: Status
    errors: tuple[InputError, ...]
    created_at: datetime
    expires_at: datetime
    in_progress_at: datetime | None
    finalizing_at: datetime | None
    completed_at: datetime | None
    failed_at: datetime | None
    expired_at: datetime | None
    cancelling_at: datetime | None
    cancelled_at: datetime | None
    total: int
    completed: int
    failed: int
    reserved: int
    input_tokens: int
    output_tokens: int
    charged: int | None = None


def new_file_id() -> FileId:
    """Make a file id: 128 random bits."""
    return FileId("file-" + secrets.token_hex(16))


def new_batch_id() -> BatchId:
    """Make a batch id: 128 random bits."""
    return BatchId("batch_" + secrets.token_hex(16))


def file_of(row: Row[tuple[object, ...]]) -> StoredFile:
    """Read a row of `files`."""
    fields = row._asdict()
    return StoredFile(member=fields.pop("member_id"), **fields)


_errors: Final = msgspec.json.Decoder(tuple[InputError, ...])
_metadata: Final = msgspec.json.Decoder(dict[str, str])


def batch_of(row: Row[tuple[object, ...]]) -> Batch:
    """Read a row of `batches`."""
    fields = row._asdict()
    for name in ("idempotency_key", "holder", "due_at"):
        del fields[name]
    errors, metadata = fields.pop("errors"), fields.pop("metadata")
    return Batch(
        member=fields.pop("member_id"),
        errors=_errors.decode(errors) if errors else (),
        metadata=_metadata.decode(metadata) if metadata is not None else None,
        **fields,
    )


__all__ = [
    "ACTIVE",
    "DEDICATED",
    "ROUTES",
    "UPLOAD_FOR",
    "Batch",
    "BatchId",
    "Endpoint",
    "FileId",
    "FileStatus",
    "InputError",
    "Purpose",
    "Status",
    "StoredFile",
    "batch_of",
    "file_of",
    "new_batch_id",
    "new_file_id",
]
