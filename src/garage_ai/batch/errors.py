"""What the batch room refuses, and why.

BatchError                       code
├── FileNotFound                 file_not_found          not there, or another member's
├── BatchNotFound                batch_not_found         the same
├── FileInUse                    file_in_use             a batch still reads it
├── BatchEnded                   batch_ended             nothing is left to cancel
├── BatchLimit                   batch_limit_exceeded    the member's batches under way are enough
├── SubmissionConflict           idempotency_conflict    the same key for another batch
├── InvalidBatch                 invalid_value           `param` names what is wrong
├── FileTooLarge                 file_too_large
├── TooManyLines                 too_many_lines
├── FileSpaceFull                file_space_full         a member's files are too large, or many
├── FileStoreUnavailable         file_store_unavailable  the folder or the bucket does not answer
├── LineRefused                  its own                 a line of an input file, with the reason
└── ReservationRefused           its own                 the batch may cost more than there is

Failures of the database come through as StorageError.
"""


class BatchError(Exception):
    """Anything the batch room refuses."""

    code = "batch_error"
    param: str | None = None


class FileNotFound(BatchError):
    code = "file_not_found"


class BatchNotFound(BatchError):
    code = "batch_not_found"


class FileInUse(BatchError):
    code = "file_in_use"


class BatchEnded(BatchError):
    code = "batch_ended"


class BatchLimit(BatchError):
    code = "batch_limit_exceeded"


class SubmissionConflict(BatchError):
    code = "idempotency_conflict"


class InvalidBatch(BatchError):
    """A value that no batch or file can have."""

    code = "invalid_value"

    def __init__(self, param: str, reason: str) -> None:
        super().__init__(f"'{param}': {reason}")
        self.param = param


class FileTooLarge(BatchError):
    code = "file_too_large"


class TooManyLines(BatchError):
    code = "too_many_lines"


class FileSpaceFull(BatchError):
    code = "file_space_full"


class FileStoreUnavailable(BatchError):
    code = "file_store_unavailable"


class LineRefused(BatchError):
    """A line that is no request; `code` and `param` as the batch's list of errors has them."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


class ReservationRefused(BatchError):
    """The batch may cost more than its member has; `code` ends up in its list of errors."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


__all__ = [
    "BatchEnded",
    "BatchError",
    "BatchLimit",
    "BatchNotFound",
    "FileInUse",
    "FileNotFound",
    "FileSpaceFull",
    "FileStoreUnavailable",
    "FileTooLarge",
    "InvalidBatch",
    "LineRefused",
    "ReservationRefused",
    "SubmissionConflict",
    "TooManyLines",
]
