"""What becomes of an item that got no answer. Pure.

An error that is the client's ends it. An error of the network's is an attempt, of which there are
MAX_ATTEMPTS. No room is none, nor is what was nobody's fault: the item waits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from garage_ai.accounts import BudgetExceeded, LimitReached, RateLimited
from garage_ai.batch.errors import FileStoreUnavailable, LineRefused
from garage_ai.serving import ServingError

MAX_ATTEMPTS: Final = 3
"""After so many failures an item is at fault, not those who were asked."""

AGAIN_SECONDS: Final = 3.0
"""Pause before the second attempt; the third's is AGAIN_TIMES as long: engines are restarted."""

AGAIN_TIMES: Final = 4.0

ENGINES_WORDS: Final = frozenset({"context_length_exceeded", "engine_rejected"})
"""Refusals that an engine itself has said: it is alive."""

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
    """Why there is no answer, as a client of the API would have been told it.

    `cause` is what an item waits for that is not at fault.
    """

    code: str
    message: str
    status: int = 500
    type: str = "server_error"
    param: str | None = None
    retry_after: float | None = None
    cause: Cause | None = None

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        """Say what an error is; one that nobody foresaw is the gateway's."""
        match error:
            case ServingError():
                cause = "batch" if error.is_nobodys else _WAITS.get(error.code)
                cause = "model" if error.has_no_room else cause
                told = (error.code, error.message, error.status, error.type, error.param)
                return cls(*told, cause=cause)
            case LineRefused():
                told = (error.code, error.message, 400, "invalid_request_error", error.param)
                return cls(*told, cause=_WAITS.get(error.code))
            case LimitReached():
                return cls._of_limit(error)
            case FileStoreUnavailable():
                words = "The input file cannot be read now."
                return cls(error.code, words, 503, cause=_WAITS[error.code])
            case TimeoutError():
                return cls("timeout", "The request took too long.", 504)
            case _:
                return cls("internal_error", "The gateway failed; its log says more.")

    @classmethod
    def _of_limit(cls, error: LimitReached) -> "Failure":
        wait, cause = error.retry_after, _WAITS.get(error.code)
        if isinstance(error, RateLimited | BudgetExceeded):
            # Where no time helps, more is asked for than the limit ever allows.
            cause = cause if wait is not None else None
            return cls(error.code, str(error), 429, "rate_limit_error", None, wait, cause)
        told = (error.code, str(error), 403, "invalid_request_error", error.param)
        return cls(*told, retry_after=wait, cause=cause)

    def fate(self, attempts: int) -> Fate:
        """Decide after so many attempts, this one included."""
        if self.cause is not None:
            return "wait"
        return "over" if self.is_clients or attempts >= MAX_ATTEMPTS else "again"

    @property
    def is_clients(self) -> bool:
        """Tell whether the same would come of it again, for the request's own sake."""
        return self.cause is None and self.status < 500

    def envelope(self, attempts: int) -> bytes:
        """Write the body of OpenAI's error answer; it tells that it was tried before."""
        words = self.message
        if attempts > 1:
            words = f"{words} This was attempt {attempts} of {MAX_ATTEMPTS}."
        told = {"message": words, "type": self.type, "param": self.param, "code": self.code}
        return msgspec.json.encode({"error": told})


def pause_after(attempts: int) -> float:
    """Give the seconds, without jitter, until an item is tried again that failed so often."""
    return AGAIN_SECONDS * AGAIN_TIMES ** (attempts - 1)


__all__ = [
    "AGAIN_SECONDS",
    "ENGINES_WORDS",
    "MAX_ATTEMPTS",
    "Cause",
    "Failure",
    "Fate",
    "pause_after",
]
