"""What a network keeps in SQL: tables, transactions, migrations, and usage.

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
from garage_ai.storage.last_seen import LastSeen
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
from garage_ai.storage.usage_rows import UsageRows, forget_late_words, recorded

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
    "ForeignDatabase",
    "Grouping",
    "InvalidDatabaseUrl",
    "InviteId",
    "KeyId",
    "LastSeen",
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
    "UsagePage",
    "UsagePart",
    "UsageRecord",
    "UsageRows",
    "UsageTotal",
    "ValueRefused",
    "forget_late_words",
    "recorded",
    "sqlite_file",
    "sqlite_url",
    "usage_list",
    "usage_record",
    "usage_summary",
]
