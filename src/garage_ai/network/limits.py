"""What bounds a request on its way through the network."""

from dataclasses import dataclass, field, replace

from garage_ai.network.answer import Request
from garage_ai.network.attempt import Limits


@dataclass(frozen=True, slots=True)
class DispatchLimits:
    """Bounds of a request; times in seconds."""

    connect: float = 2.0
    attempt: Limits = field(default_factory=lambda: Limits(3.0, 120.0, 5.0, 900.0))
    queue_size: int = 256
    queue_seconds: float = 30.0
    batch_queue_size: int = 1024
    """Batch requests that may wait; whoever sends them keeps no more of them open than run soon."""
    batch_seconds: float = 3600.0
    """How long one waits for what chat leaves over: an evening's rush."""
    retries: int = 3
    max_answer: int = 64_000_000
    move_wait: float = 10.0
    """How long a stream that lost its node waits for room on another; it comes before others."""
    move_first_byte: float = 60.0
    """Its prompt is read anew there, which takes a long one its time."""
    batch_total: float = 6 * 3600.0
    """Longest a batch answer that is heard word by word may run: its card has much to do."""

    def of(self, request: Request) -> Limits:
        """Give the limits of a request's attempt.

        One that nobody watches has all of a chat's time for its first word, as a plain answer has.
        """
        if request.priority == "chat" or not request.stream:
            return self.attempt
        return replace(self.attempt, first_byte=self.attempt.total, total=self.batch_total)


__all__ = ["DispatchLimits"]
