"""What the edge needs of files and batches, as protocols."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from garage_ai.accounts import Key, MemberId
from garage_ai.batch import Batch, BatchPage, FilePage, Order, StoredFile, Submission, Upload
from garage_ai.network.dedications import DedicatedView


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Bytes of a file, and uploads at a time: all that this gateway takes, and a member's."""

    size: int = 1_000_000_000
    at_a_time: int = 32
    of_member: int = 4


class Files(Protocol):
    """Members' files."""

    async def upload(self, owner: Key, filename: str, announced: int | None = None) -> Upload:
        """Begin to take a file in. Raises: BatchError."""
        ...

    async def get(self, member: MemberId, file: str) -> StoredFile:
        """Give a member's file. Raises: FileNotFound."""
        ...

    async def list(
        self,
        member: MemberId,
        limit: int,
        after: str | None = None,
        purpose: str | None = None,
        order: Order = "desc",
    ) -> FilePage:
        """List a member's files. Raises: FileNotFound."""
        ...

    async def content(self, member: MemberId, file: str) -> tuple[StoredFile, AsyncIterator[bytes]]:
        """Give a file and its bytes. Raises: FileNotFound, FileStoreUnavailable."""
        ...

    async def delete(self, owner: Key, file: str) -> None:
        """Delete a file. Raises: FileNotFound, FileInUse."""


class Batches(Protocol):
    """Members' batches."""

    async def submit(
        self, owner: Key, asked: Submission, idempotency_key: str | None = None
    ) -> Batch:
        """Take a batch. Raises: BatchError."""
        ...

    async def get(self, member: MemberId, batch: str) -> Batch:
        """Give a member's batch. Raises: BatchNotFound."""
        ...

    async def list(self, member: MemberId, limit: int, after: str | None = None) -> BatchPage:
        """List a member's batches, newest first. Raises: BatchNotFound."""
        ...

    async def cancel(self, owner: Key, batch: str) -> Batch:
        """Let nothing more of a batch begin. Raises: BatchNotFound, BatchEnded."""
        ...


class Engines(Protocol):
    """Engines that are made for one batch alone."""

    def view(self, batch: Batch) -> DedicatedView | None:
        """Tell how a batch stands that is to have its own; None for all others."""


__all__ = ["Batches", "Engines", "Files", "UploadLimits"]
