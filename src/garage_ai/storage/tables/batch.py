"""Tables of `batch`: files, batches, and one row for each request of a batch.

`batch_items` holds no bodies: an item says where its line lies in the input file. A row has one
result, written by whoever holds its newest epoch; that is why no request is answered twice.
Results are written with the counts of their batch, and only while its `finalizing_at` is NULL:
what comes later would be in no file.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from garage_ai.storage.tables.base import Utc, member_column, metadata

# A row is there before the bytes are, and until they are gone: nothing is ever left behind. As
# `deleted` it keeps a file's place in lists, until `expires_at`.
files = Table(
    "files",
    metadata,
    Column("id", String(64), primary_key=True),
    member_column(index=False),  # the index below begins with it
    Column("key_id", String(64), nullable=False),
    Column("purpose", String(32), nullable=False),  # batch, batch_output
    Column("filename", String(255), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),  # batch.models.FileStatus
    Column("created_at", Utc, nullable=False),
    Column("expires_at", Utc, index=True),
    Column("place", String(255), nullable=False),  # its key in the file store
    Index("ix_files_member_id_created_at_id", "member_id", "created_at", "id"),
    Index("ix_files_status_created_at", "status", "created_at"),
)

# No foreign keys to files: a batch outlives them.
batches = Table(
    "batches",
    metadata,
    Column("id", String(64), primary_key=True),
    member_column(index=False),
    Column("key_id", String(64), nullable=False),
    Column("idempotency_key", String(255)),
    Column("input_file_id", String(64), nullable=False),
    Column("output_file_id", String(64)),
    Column("error_file_id", String(64)),
    Column("endpoint", String(64), nullable=False),
    Column("model", String(255)),  # the first line's; each item has its own
    Column("completion_window", String(16), nullable=False),
    Column("output_expires_s", BigInteger),
    Column("metadata", Text),  # JSON object of strings
    Column("isolation", String(16)),  # dedicated
    # validating, failed, in_progress, finalizing, completed, expired, cancelling, cancelled
    Column("status", String(16), nullable=False),
    Column("errors", Text),  # JSON list of what is wrong with the input
    Column("created_at", Utc, nullable=False),
    Column("expires_at", Utc, nullable=False),  # when the window ends
    Column("in_progress_at", Utc),
    Column("finalizing_at", Utc),
    Column("completed_at", Utc),
    Column("failed_at", Utc),
    Column("expired_at", Utc),
    Column("cancelling_at", Utc),
    Column("cancelled_at", Utc),
    Column("total", BigInteger, nullable=False),
    Column("completed", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),  # nGAI
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    # Which gateway looks after it, and when the next may; none once nothing is left to do.
    Column("holder", String(64)),
    Column("due_at", Utc, index=True),
    UniqueConstraint("member_id", "idempotency_key"),
    Index("ix_batches_member_id_created_at_id", "member_id", "created_at", "id"),
    Index("ix_batches_status_created_at", "status", "created_at"),
)

_QUEUED = text("state = 'queued'")
_LEASED = text("state = 'leased'")

batch_items = Table(
    "batch_items",
    metadata,
    Column("batch_id", String(64), ForeignKey("batches.id"), primary_key=True),
    Column("line", BigInteger, primary_key=True, autoincrement=False),  # from 1, as in the file
    Column("custom_id", String(255), nullable=False),
    Column("offset", BigInteger, nullable=False),  # bytes into the input file
    Column("length", BigInteger, nullable=False),  # bytes, without the end of the line
    Column("hold", BigInteger, nullable=False, server_default="0"),  # nGAI of what is reserved
    Column("state", String(16), nullable=False),  # queued, leased, done, failed
    Column("attempts", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("losses", Integer, nullable=False, server_default="0"),  # leases that ran out
    Column("worker", String(64)),
    Column("lease_until", Utc),
    Column("not_before", Utc),
    Column("result", LargeBinary),  # its line of the output or the error file, until that is there
    Column("finished_at", Utc),
    # What waits and what runs is found among millions that are done.
    Index(
        "ix_batch_items_queued",
        "batch_id",
        "line",
        "not_before",
        sqlite_where=_QUEUED,
        postgresql_where=_QUEUED,
    ),
    Index(
        "ix_batch_items_leased",
        "lease_until",
        sqlite_where=_LEASED,
        postgresql_where=_LEASED,
    ),
)

__all__ = ["batch_items", "batches", "files"]
