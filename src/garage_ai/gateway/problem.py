"""One row of the table of errors."""

from dataclasses import dataclass
from typing import Literal

ErrorType = Literal[
    "insufficient_quota",
    "invalid_request_error",
    "permission_error",
    "rate_limit_error",
    "server_error",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """One row of the table of errors: `meaning` says what it is, `remedy` what to do."""

    code: str
    status: int
    type: ErrorType
    meaning: str
    remedy: str


def rows(status: int, kind: ErrorType, *texts: tuple[str, str, str]) -> list[Problem]:
    """Make rows of one status and type."""
    return [Problem(code, status, kind, meaning, remedy) for code, meaning, remedy in texts]


__all__ = ["ErrorType", "Problem", "rows"]
