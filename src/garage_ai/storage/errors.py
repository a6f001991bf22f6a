"""What can go wrong between the program and its database.

StorageError                     code
├── InvalidDatabaseUrl           invalid_database_url   not an address this version can open
├── SchemaError
│   ├── SchemaTooNew             schema_too_new         a newer version wrote this database
│   └── ForeignDatabase          foreign_database       another program's database
├── DatabaseNotEmpty             database_not_empty     a place to restore into holds something
├── ConstraintViolated           constraint_violated    a unique or foreign key said no
├── ValueRefused                 value_refused          a value that no column can hold
├── DatabaseCorrupt              database_corrupt       damaged, or no database at all
├── DatabaseReadOnly             database_read_only     may be read, not written
├── DatabaseDenied               database_denied        name, password or rights are refused
├── StorageUnavailable           (may pass by itself; the caller may try again)
│   ├── DatabaseLocked           database_locked        another writer holds it too long
│   ├── DiskFull                 disk_full              no room for the write
│   ├── DatabaseUnreachable      database_unreachable   cannot be opened or was cut off
│   └── StorageTimeout           storage_timeout        no answer in the time allowed
└── StorageFailed                storage_failed         anything else the database said

A write that raises one of these did not commit, but for StorageTimeout, after which nobody knows.
None of them carries the values of a statement.
"""


class StorageError(Exception):
    """Any failure of the database."""

    code = "storage_error"


class InvalidDatabaseUrl(StorageError):
    code = "invalid_database_url"


class SchemaError(StorageError):
    """The database is sound, but not of a shape this version knows."""

    code = "schema_error"


class SchemaTooNew(SchemaError):
    code = "schema_too_new"


class ForeignDatabase(SchemaError):
    code = "foreign_database"


class DatabaseNotEmpty(StorageError):
    code = "database_not_empty"


class ConstraintViolated(StorageError):
    code = "constraint_violated"


class ValueRefused(StorageError):
    code = "value_refused"


class DatabaseCorrupt(StorageError):
    code = "database_corrupt"


class DatabaseReadOnly(StorageError):
    code = "database_read_only"


class DatabaseDenied(StorageError):
    code = "database_denied"


class StorageUnavailable(StorageError):
    """A failure that may pass by itself."""

    code = "storage_unavailable"


class DatabaseLocked(StorageUnavailable):
    code = "database_locked"


class DiskFull(StorageUnavailable):
    code = "disk_full"


class DatabaseUnreachable(StorageUnavailable):
    code = "database_unreachable"


class StorageTimeout(StorageUnavailable):
    code = "storage_timeout"


class StorageFailed(StorageError):
    code = "storage_failed"
