"""What PostgreSQL and its driver say of an error, in our words."""

from typing import Final

from garage_ai.storage.errors import (
    ConstraintViolated,
    DatabaseCorrupt,
    DatabaseDenied,
    DatabaseLocked,
    DatabaseReadOnly,
    DatabaseUnreachable,
    DiskFull,
    StorageError,
    StorageFailed,
    StorageTimeout,
    ValueRefused,
)

# By SQLSTATE, the longest beginning that fits (postgresql.org/docs/current/errcodes-appendix).
_BY_SQLSTATE: Final[dict[str, type[StorageError]]] = {
    "08": DatabaseUnreachable,
    "22": ValueRefused,
    "23": ConstraintViolated,
    "25006": DatabaseReadOnly,
    "25P03": StorageTimeout,
    "25P04": StorageTimeout,
    "28": DatabaseDenied,
    "3D000": DatabaseDenied,
    "40": DatabaseLocked,
    "42501": DatabaseDenied,
    "53": DatabaseUnreachable,
    "53100": DiskFull,
    "55P03": DatabaseLocked,
    "57014": StorageTimeout,
    "57P": DatabaseUnreachable,
    "58030": DatabaseUnreachable,
    "XX001": DatabaseCorrupt,
    "XX002": DatabaseCorrupt,
}


def kind_of(error: BaseException) -> str:
    return type(error).__name__


def named(error: BaseException) -> StorageError:
    """Name an error of the driver by its SQLSTATE; values that it quotes stay out of ours."""
    if isinstance(error, StorageError):
        return error
    state = getattr(error, "sqlstate", None)
    found = _by_state(state) if isinstance(state, str) else None
    if found is ValueRefused or _is_unfit(error):
        return ValueRefused(kind_of(error))
    # `str` of it would hold the detail too, which quotes the row.
    words = getattr(error, "message", None) or kind_of(error)
    if found is not None:
        return found(str(words))
    if _is_cut_off(error):
        return DatabaseUnreachable(str(error) or kind_of(error))
    return StorageFailed(f"{kind_of(error)}: {words}")


def _by_state(state: str) -> type[StorageError] | None:
    for length in (5, 3, 2):
        if state[:length] in _BY_SQLSTATE:
            return _BY_SQLSTATE[state[:length]]
    return None


def _is_unfit(error: BaseException) -> bool:
    from asyncpg import DataError

    return isinstance(error, (ValueError, TypeError, OverflowError, DataError))


def _is_cut_off(error: BaseException) -> bool:
    from asyncpg import InterfaceError, InternalClientError

    return isinstance(error, (OSError, InterfaceError, InternalClientError))


__all__ = ["kind_of", "named"]
