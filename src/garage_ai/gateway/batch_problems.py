"""The rows of files and batches in the table of errors."""

from typing import Final

from garage_ai.gateway.problem import rows

OF_BATCHES: Final = (
    *rows(
        400,
        "invalid_request_error",
        (
            "too_many_lines",
            "The file has more lines than a batch may have.",
            "Cut it into several files.",
        ),
        (
            "file_space_full",
            "The member's files together, those on their way too, are as large or many as may be.",
            "Delete files that are needed no more.",
        ),
    ),
    *rows(
        404,
        "invalid_request_error",
        ("file_not_found", "There is no such file.", "Take an id from GET /v1/files."),
        ("batch_not_found", "There is no such batch.", "Take an id from GET /v1/batches."),
    ),
    *rows(
        409,
        "invalid_request_error",
        ("file_in_use", "A batch still reads this file.", "Cancel the batch or wait for its end."),
        (
            "batch_ended",
            "The batch has come to its end, or is about to: nothing is left to cancel.",
            "Read its files.",
        ),
    ),
    *rows(
        413,
        "invalid_request_error",
        (
            "file_too_large",
            "The file is larger than this gateway takes.",
            "Cut it into several files.",
        ),
    ),
    *rows(
        429,
        "rate_limit_error",
        (
            "batch_limit_exceeded",
            "The member has as many batches, or lines in them, under way as may be.",
            "Wait until one has ended, or cancel one.",
        ),
        (
            "too_many_uploads",
            "The member, or all members together, upload as many files at a time as may be.",
            "Wait as long as Retry-After says; send files one after the other.",
        ),
    ),
    *rows(
        503,
        "server_error",
        (
            "file_store_unavailable",
            "The folder or bucket of files does not answer.",
            "Wait, then try again; the gateway's log says why.",
        ),
    ),
)

__all__ = ["OF_BATCHES"]
