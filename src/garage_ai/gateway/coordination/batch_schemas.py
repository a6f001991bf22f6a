"""What the routes of files and batches take and give: OpenAI's own shapes."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field

from garage_ai.batch import Batch, BatchPage, Endpoint, FilePage, InputError, StoredFile, Submission
from garage_ai.gateway.batch_services import Engines
from garage_ai.gateway.coordination.schemas import Asked, Given
from garage_ai.network.dedication import IN_WORDS
from garage_ai.network.dedications import DedicatedView

HOUR = 3600
MONTH = 30 * 24 * HOUR

ExpirySeconds = Annotated[int, Field(ge=HOUR, le=MONTH, description="Seconds after the anchor.")]


class ExpiresAfter(Asked):
    anchor: Literal["created_at"]
    seconds: ExpirySeconds


class FileGiven(Given):
    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: Literal["batch", "batch_output"]
    status: Literal["processed"] = "processed"

    @classmethod
    def of(cls, file: StoredFile) -> Self:
        """Show a file."""
        return cls(
            id=file.id,
            bytes=file.bytes,
            created_at=_seconds(file.created_at),
            expires_at=_moment(file.expires_at),
            filename=file.filename,
            purpose=file.purpose,
        )


class FilesGiven(Given):
    object: Literal["list"] = "list"
    data: list[FileGiven]
    first_id: str | None
    last_id: str | None
    has_more: bool

    @classmethod
    def of(cls, page: FilePage) -> Self:
        """Show files."""
        data = [FileGiven.of(file) for file in page.files]
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        return cls(data=data, first_id=first, last_id=last, has_more=page.has_more)


class FileDeleted(Given):
    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


class BatchAsked(Asked):
    input_file_id: Annotated[str, Field(min_length=1, max_length=64)]
    endpoint: Endpoint
    completion_window: Annotated[
        str,
        Field(
            pattern=r"^[1-9][0-9]{0,2}[hd]$",
            examples=["24h"],
            description="Hours or days, from 1h to 7d, in which it is to be done.",
        ),
    ]
    metadata: dict[str, str] | None = Field(
        None,
        description="At most 16 pairs. `isolation: dedicated` runs the batch in engines that are "
        "made for it alone, and waits for a node that does that.",
    )
    output_expires_after: ExpiresAfter | None = None

    @property
    def submission(self) -> Submission:
        """What is asked for."""
        expires = self.output_expires_after
        return Submission(
            self.input_file_id,
            self.endpoint,
            self.completion_window,
            self.metadata,
            None if expires is None else expires.seconds,
        )


class InputErrorGiven(Given):
    code: str
    message: str
    line: int | None
    param: str | None

    @classmethod
    def of(cls, error: InputError) -> Self:
        """Show what is wrong with a line."""
        return cls(code=error.code, message=error.message, line=error.line, param=error.param)


class InputErrorsGiven(Given):
    object: Literal["list"] = "list"
    data: list[InputErrorGiven]


class RequestCounts(Given):
    total: int
    completed: int
    failed: int


class InputDetails(Given):
    cached_tokens: int = 0


class OutputDetails(Given):
    reasoning_tokens: int = 0


class BatchUsage(Given):
    input_tokens: int
    input_tokens_details: InputDetails = InputDetails()
    output_tokens: int
    output_tokens_details: OutputDetails = OutputDetails()
    total_tokens: int


class DedicatedGiven(Given):
    state: Literal["ready", "preparing", "waiting"]
    nodes: list[str] = Field(description="Those that serve this batch alone, or are about to.")
    reason: Literal["no_node", "not_possible", "not_for_you", "chat_first", "refused"] | None
    message: str | None = Field(description="Why no node does yet.")

    @classmethod
    def of(cls, view: DedicatedView | None) -> Self | None:
        """Show how a batch stands that is to have engines of its own."""
        if view is None:
            return None
        reason = view.obstacle
        message = None if reason is None else IN_WORDS[reason]
        return cls(state=view.state, nodes=list(view.nodes), reason=reason, message=message)


class BatchMore(Given):
    reserved: str = Field(description="nGAI that all answers may cost at most.")
    charged: str | None = Field(
        description="nGAI that the answers have cost; null where nothing is billed, and long after."
    )

    dedicated: DedicatedGiven | None = Field(
        description="The engines made for this batch alone, while it runs and wants any."
    )

    @classmethod
    def of(cls, batch: Batch, view: DedicatedView | None) -> Self:
        """Show what OpenAI's batches do not have."""
        charged = None if batch.charged is None else str(batch.charged)
        dedicated = DedicatedGiven.of(view)
        return cls(reserved=str(batch.reserved), charged=charged, dedicated=dedicated)


class BatchGiven(Given):
    id: str
    object: Literal["batch"] = "batch"
    endpoint: Endpoint
    model: str | None
    errors: InputErrorsGiven | None
    input_file_id: str
    completion_window: str
    status: Literal[
        "validating",
        "failed",
        "in_progress",
        "finalizing",
        "completed",
        "expired",
        "cancelling",
        "cancelled",
    ]
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    usage: BatchUsage
    metadata: dict[str, str] | None
    gai: BatchMore

    @classmethod
    def of(cls, batch: Batch, engines: Engines) -> Self:
        """Show a batch."""
        errors = [InputErrorGiven.of(error) for error in batch.errors]
        return cls(
            id=batch.id,
            endpoint=batch.endpoint,
            model=batch.model,
            errors=InputErrorsGiven(data=errors) if errors else None,
            input_file_id=batch.input_file_id,
            completion_window=batch.completion_window,
            status=batch.status,
            output_file_id=batch.output_file_id,
            error_file_id=batch.error_file_id,
            created_at=_seconds(batch.created_at),
            in_progress_at=_moment(batch.in_progress_at),
            expires_at=_seconds(batch.expires_at),
            finalizing_at=_moment(batch.finalizing_at),
            completed_at=_moment(batch.completed_at),
            failed_at=_moment(batch.failed_at),
            expired_at=_moment(batch.expired_at),
            cancelling_at=_moment(batch.cancelling_at),
            cancelled_at=_moment(batch.cancelled_at),
            request_counts=RequestCounts(
                total=batch.total, completed=batch.completed, failed=batch.failed
            ),
            usage=BatchUsage(
                input_tokens=batch.input_tokens,
                output_tokens=batch.output_tokens,
                total_tokens=batch.input_tokens + batch.output_tokens,
            ),
            metadata=None if batch.metadata is None else dict(batch.metadata),
            gai=BatchMore.of(batch, engines.view(batch)),
        )


class BatchesGiven(Given):
    object: Literal["list"] = "list"
    data: list[BatchGiven]
    first_id: str | None
    last_id: str | None
    has_more: bool

    @classmethod
    def of(cls, page: BatchPage, engines: Engines) -> Self:
        """Show batches."""
        data = [BatchGiven.of(batch, engines) for batch in page.batches]
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        return cls(data=data, first_id=first, last_id=last, has_more=page.has_more)


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _moment(moment: datetime | None) -> int | None:
    return None if moment is None else _seconds(moment)
