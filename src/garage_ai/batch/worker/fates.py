"""What becomes of an item that got no answer. Pure.

An error that is the client's ends it. An error of the network's is an attempt, of which there are
MAX_ATTEMPTS. No room is none: the item waits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from garage_ai.accounts import LimitReached
from garage_ai.batch.errors import FileStoreUnavailable, LineRefused
from garage_ai.serving import ServingError

MAX_ATTEMPTS: Final = 3
"""After so many failures an item is at fault, not those who were asked."""

Fate = Literal["over", "again", "wait"]

Cause = Literal["model", "key", "batch"]
"""What has to change before it is worth asking again; only that is not asked meanwhile."""

_WAITS: Final[Mapping[str, Cause]] = {
    "no_capacity": "model",
    "rate_limit_exceeded": "key",
    "budget_exceeded": "key",
    "member_suspended": "key",  # who is let in again before the deadline has lost nothing
    "invalid_api_key": "key",  # keys are never deleted: another gateway made it a moment ago
    "no_node": "batch",
    "model_loading": "batch",
    "model_not_found": "batch",  # nobody serves it just now: it was there when the batch was made
    "region_unavailable": "batch",
    "nats_unavailable": "batch",
    "storage_unavailable": "batch",
    "file_store_unavailable": "batch",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer, as a client of the API would have been told it."""

    code: str
    message: str
    status: int = 500
    type: str = "server_error"
    param: str | None = None
    retry_after: float | None = None

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        """Say what an error is; one that nobody foresaw is the gateway's."""
        match error:
            case ServingError():
                told = (error.code, error.message, error.status, error.type, error.param)
                return cls(*told)
            case LineRefused():
                return cls(error.code, error.message, 400, "invalid_request_error", error.param)
            case LimitReached():
                told = (error.code, str(error), 403, "invalid_request_error", error.param)
                return cls(*told, retry_after=error.retry_after)
            case FileStoreUnavailable():
                return cls(error.code, "The input file cannot be read now.", 503)
            case TimeoutError():
                return cls("timeout", "The request took too long.", 504)
            case _:
                return cls("internal_error", "The gateway failed; its log says more.")

    def fate(self, attempts: int) -> Fate:
        """Decide after so many attempts, this one included."""
        if self.code in _WAITS:
            return "wait"
        return "over" if self.status < 500 or attempts >= MAX_ATTEMPTS else "again"

    @property
    def cause(self) -> Cause:
        """Tell what an item waits for whose fate that is."""
        return _WAITS[self.code]

    def envelope(self, attempts: int) -> bytes:
        """Write the body of OpenAI's error answer; it tells that it was tried before."""
        words = self.message
        if attempts > 1:
            words = f"{words} This was attempt {attempts} of {MAX_ATTEMPTS}."
        told = {"message": words, "type": self.type, "param": self.param, "code": self.code}
        return msgspec.json.encode({"error": told})


__all__ = ["MAX_ATTEMPTS", "Cause", "Failure", "Fate"]
