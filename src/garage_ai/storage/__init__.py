"""What a network keeps in SQL: tables, transactions, migrations, and the writer of usage.

Acknowledged means committed: a write that returned is on the disk.
"""

from garage_ai.storage.database import Storage
from garage_ai.storage.dialect import sqlite_url
from garage_ai.storage.errors import (
    ConstraintViolated,
    DatabaseCorrupt,
    DatabaseLocked,
    DatabaseReadOnly,
    DatabaseUnreachable,
    DiskFull,
    ForeignDatabase,
    InvalidDatabaseUrl,
    SchemaError,
    SchemaTooNew,
    StorageError,
    StorageFailed,
    StorageTimeout,
    StorageUnavailable,
    ValueRefused,
)
from garage_ai.storage.ids import OPERATOR, KeyId, MemberId, TokenId
from garage_ai.storage.usage import (
    Grouping,
    UsagePage,
    UsagePart,
    UsageRecord,
    UsageTotal,
    usage_list,
    usage_summary,
)
from garage_ai.storage.usage_writer import DropReason, UsageCounts, UsageWriter

__all__ = [
    "OPERATOR",
    "ConstraintViolated",
    "DatabaseCorrupt",
    "DatabaseLocked",
    "DatabaseReadOnly",
    "DatabaseUnreachable",
    "DiskFull",
    "DropReason",
    "ForeignDatabase",
    "Grouping",
    "InvalidDatabaseUrl",
    "KeyId",
    "MemberId",
    "SchemaError",
    "SchemaTooNew",
    "Storage",
    "StorageError",
    "StorageFailed",
    "StorageTimeout",
    "StorageUnavailable",
    "TokenId",
    "UsageCounts",
    "UsagePage",
    "UsagePart",
    "UsageRecord",
    "UsageTotal",
    "UsageWriter",
    "ValueRefused",
    "sqlite_url",
    "usage_list",
    "usage_summary",
]
