"""Errors on their way to a client, in OpenAI's envelope.

GatewayError                     carries one `Problem` of `PROBLEMS`
├── BadRequest                   the request itself is wrong (400)
└── ClientLeft                   nobody is there to hear an answer (499)

Errors of the other packages have a `code`; `problem_of` finds it here, and that is the only place
where an exception becomes an HTTP status. What is not found here is `internal_error`.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from garage_ai.gateway.problems import PROBLEMS, ErrorType, Problem

MAX_MESSAGE: Final = 1000

# Several codes of one package may be one thing to a client.
_ALIASES: Final[Mapping[str, str]] = {
    "database_locked": "storage_unavailable",
    "database_unreachable": "storage_unavailable",
    "storage_timeout": "storage_unavailable",
    "disk_full": "storage_unavailable",
    "database_read_only": "storage_unavailable",
    "database_denied": "storage_unavailable",
    "link_down": "nats_unavailable",
    "link_lost": "nats_unavailable",
    "constraint_violated": "conflict",
    "value_refused": "invalid_field",
    "manifest_invalid": "invalid_manifest",
}

# Their own messages speak of files and tables; a client is told the meaning alone.
_MEANING_ONLY: Final = frozenset(
    {"storage_unavailable", "file_store_unavailable", "nats_unavailable", "internal_error"}
)


class GatewayError(Exception):
    """A failure with its place in the table; `retry_after` in seconds."""

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        param: str | None = None,
        retry_after: float | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self.problem = PROBLEMS[code]
        self.message = (message or self.problem.meaning)[:MAX_MESSAGE]
        super().__init__(self.message)
        self.param = param
        self.retry_after = retry_after
        self.headers = headers

    @property
    def code(self) -> str:
        """The stable code."""
        return self.problem.code


class BadRequest(GatewayError):
    """The request itself is wrong, and `param` says where."""


class ClientLeft(GatewayError):
    """The client hung up."""

    def __init__(self) -> None:
        super().__init__("client_closed")


def problem_of(error: BaseException) -> GatewayError | None:
    """Find what a client is to be told of an exception; None when it is a fault of ours."""
    if isinstance(error, GatewayError):
        return error
    if not type(error).__module__.startswith("garage_ai."):
        return None
    code = getattr(error, "code", None)
    code = _ALIASES.get(code, code) if isinstance(code, str) else None
    if code is None or code not in PROBLEMS:
        return None
    return GatewayError(
        code,
        None if code in _MEANING_ONLY else str(error) or None,
        param=_text(error, "param") or _text(error, "field"),
        retry_after=_seconds(error),
        headers=getattr(error, "headers", ()),
    )


def _text(error: BaseException, name: str) -> str | None:
    value = getattr(error, name, None)
    return value if isinstance(value, str) else None


def _seconds(error: BaseException) -> float | None:
    value = getattr(error, "retry_after", None)
    return float(value) if isinstance(value, int | float) else None


class ErrorBody(msgspec.Struct, frozen=True):
    """What is inside the envelope."""

    message: str
    type: str
    param: str | None
    code: str


class Envelope(msgspec.Struct, frozen=True):
    """OpenAI's error envelope."""

    error: ErrorBody


_encoder: Final = msgspec.json.Encoder()


def envelope(error: GatewayError) -> bytes:
    """Write the error as OpenAI's envelope."""
    problem = error.problem
    return _encoder.encode(
        Envelope(ErrorBody(error.message, problem.type, error.param, problem.code))
    )


def internal_error(request_id: str) -> GatewayError:
    """Make the error that says nothing but where to look."""
    return GatewayError(
        "internal_error", f"A fault of the gateway; its log has it under {request_id}."
    )


__all__ = [
    "PROBLEMS",
    "BadRequest",
    "ClientLeft",
    "Envelope",
    "ErrorBody",
    "ErrorType",
    "GatewayError",
    "Problem",
    "envelope",
    "internal_error",
    "problem_of",
]
