"""What a network keeps in SQL: tables, transactions, migrations, and the writer of usage.

Acknowledged means committed: a write that returned is on the disk.
"""

from garage_ai.storage.changes import Change, RowChange, RowLock
from garage_ai.storage.database import Storage
from garage_ai.storage.dialect import NewRows, sqlite_file, sqlite_url
from garage_ai.storage.errors import (
    ConstraintViolated,
    DatabaseCorrupt,
    DatabaseDenied,
    DatabaseLocked,
    DatabaseNotEmpty,
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
from garage_ai.storage.ids import OPERATOR, InviteId, KeyId, MemberId, TokenId
from garage_ai.storage.usage import (
    Grouping,
    UsagePage,
    UsagePart,
    UsageRecord,
    UsageTotal,
    usage_list,
    usage_record,
    usage_summary,
)
from garage_ai.storage.usage_writer import DropReason, UsageCounts, UsageRows, UsageWriter

__all__ = [
    "OPERATOR",
    "Change",
    "ConstraintViolated",
    "DatabaseCorrupt",
    "DatabaseDenied",
    "DatabaseLocked",
    "DatabaseNotEmpty",
    "DatabaseReadOnly",
    "DatabaseUnreachable",
    "DiskFull",
    "DropReason",
    "ForeignDatabase",
    "Grouping",
    "InvalidDatabaseUrl",
    "InviteId",
    "KeyId",
    "MemberId",
    "NewRows",
    "RowChange",
    "RowLock",
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
    "UsageRows",
    "UsageTotal",
    "UsageWriter",
    "ValueRefused",
    "sqlite_file",
    "sqlite_url",
    "usage_list",
    "usage_record",
    "usage_summary",
]
