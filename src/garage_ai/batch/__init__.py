"""Durable jobs: files of requests, answered by what chat leaves over, each exactly once."""

from garage_ai.batch.batches import Batches, BatchLimits, BatchPage, Submission
from garage_ai.batch.errors import (
    BatchEnded,
    BatchError,
    BatchLimit,
    BatchNotFound,
    FileInUse,
    FileNotFound,
    FileSpaceFull,
    FileStoreUnavailable,
    FileTooLarge,
    InvalidBatch,
    LineRefused,
    ReservationRefused,
    SubmissionConflict,
    TooManyLines,
)
from garage_ai.batch.files import FileLimits, FilePage, Files, Order, Upload
from garage_ai.batch.finalising import Finalising
from garage_ai.batch.keeper import Keeper
from garage_ai.batch.models import (
    DEDICATED,
    ROUTES,
    UPLOAD_FOR,
    Batch,
    BatchId,
    Endpoint,
    FileId,
    InputError,
    StoredFile,
)
from garage_ai.batch.requests import Reading, ReadRequest
from garage_ai.batch.reserving import Reserve
from garage_ai.batch.store import FileStore, Folder, Writing
from garage_ai.batch.validation import Desk, Validation

__all__ = [
    "DEDICATED",
    "ROUTES",
    "UPLOAD_FOR",
    "Batch",
    "BatchEnded",
    "BatchError",
    "BatchId",
    "BatchLimit",
    "BatchLimits",
    "BatchNotFound",
    "BatchPage",
    "Batches",
    "Desk",
    "Endpoint",
    "FileId",
    "FileInUse",
    "FileLimits",
    "FileNotFound",
    "FilePage",
    "FileSpaceFull",
    "FileStore",
    "FileStoreUnavailable",
    "FileTooLarge",
    "Files",
    "Finalising",
    "Folder",
    "InputError",
    "InvalidBatch",
    "Keeper",
    "LineRefused",
    "Order",
    "ReadRequest",
    "Reading",
    "ReservationRefused",
    "Reserve",
    "StoredFile",
    "Submission",
    "SubmissionConflict",
    "TooManyLines",
    "Upload",
    "Validation",
    "Writing",
]
