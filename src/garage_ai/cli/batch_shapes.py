"""What a gateway answers of files and batches; moments are seconds since 1970."""

from typing import Final

import msgspec

ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})
"""States in which nothing of a batch changes any more."""


class StoredFile(msgspec.Struct, frozen=True):
    """A file at the gateway."""

    id: str


class FileDeleted(msgspec.Struct, frozen=True):
    id: str


class InputError(msgspec.Struct, frozen=True):
    """What is wrong with a line of the input; lines count from 1."""

    message: str
    code: str | None = None
    line: int | None = None
    param: str | None = None


class InputErrors(msgspec.Struct, frozen=True):
    data: tuple[InputError, ...] = ()


class Counts(msgspec.Struct, frozen=True):
    """How many requests there are, how many have an answer, and how many have none."""

    total: int = 0
    completed: int = 0
    failed: int = 0

    @property
    def ended(self) -> int:
        """How many have come to an end."""
        return self.completed + self.failed


class Tokens(msgspec.Struct, frozen=True):
    input_tokens: int = 0
    output_tokens: int = 0


class Dedicated(msgspec.Struct, frozen=True):
    """How a batch stands that is to have engines of its own; `message` says why it has none."""

    state: str
    nodes: tuple[str, ...] = ()
    reason: str | None = None
    message: str | None = None


class More(msgspec.Struct, frozen=True):
    """What OpenAI's format has no place for: nGAI as text, None where it is not known."""

    reserved: str | None = None
    charged: str | None = None
    dedicated: Dedicated | None = None


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch."""

    id: str
    status: str
    endpoint: str = ""
    model: str | None = None
    errors: InputErrors | None = None
    input_file_id: str = ""
    completion_window: str = ""
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: int = 0
    in_progress_at: int | None = None
    expires_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    request_counts: Counts = Counts()
    usage: Tokens = Tokens()
    metadata: dict[str, str] | None = None
    gai: More = More()

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it changes any more."""
        return self.status in ENDED

    @property
    def seconds(self) -> int | None:
        """How long its requests ran or have run until their end; None before that."""
        end = self.finalizing_at or self.completed_at
        if end is None or self.in_progress_at is None:
            return None
        return max(end - self.in_progress_at, 0)


class Batches(msgspec.Struct, frozen=True):
    data: tuple[Batch, ...]
    has_more: bool = False


__all__ = [
    "ENDED",
    "Batch",
    "Batches",
    "Counts",
    "Dedicated",
    "FileDeleted",
    "InputError",
    "InputErrors",
    "More",
    "StoredFile",
    "Tokens",
]
