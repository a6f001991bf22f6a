"""A circuit breaker: a node that keeps failing is left alone for a while."""

from typing import Final

FAILURES_TO_OPEN: Final = 3
FIRST_PAUSE: Final = 10.0
LONGEST_PAUSE: Final = 300.0


class Breaker:
    """Count failures in a row; open for 10 s, doubling to 300 s, until one trial succeeds.

    What was under way when a failure was counted and then fails too, fails of the same cause: a
    node that is killed with eight requests on it has failed once.

    Pure: the caller gives the time in seconds. Refusals (`busy`), rejections of a request and an
    engine's 401, 403 or 429 are no failures and must not be told to it.
    """

    __slots__ = ("_failed_at", "_failures", "_open_until", "_pause", "_trial")

    def __init__(self) -> None:
        self._failures = 0
        self._failed_at = float("-inf")
        self._open_until = 0.0
        self._pause = FIRST_PAUSE
        self._trial = False

    def allows(self, now: float) -> bool:
        """Tell whether a request may go to the node now."""
        if self._failures < FAILURES_TO_OPEN:
            return True
        return now >= self._open_until and not self._trial

    def started(self) -> None:
        """Note that a request goes out; with the breaker open it is the one trial."""
        if self._failures >= FAILURES_TO_OPEN:
            self._trial = True

    def succeeded(self) -> None:
        """Note a whole answer: all is forgotten."""
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._trial = False

    def failed(self, now: float, begun: float) -> None:
        """Note that a request which began at a moment failed through the node or its engine."""
        if begun < self._failed_at:
            return
        self._failures += 1
        self._failed_at = now
        if self._failures < FAILURES_TO_OPEN:
            return
        self._open_until = now + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        self._trial = False

    def spared(self) -> None:
        """Note that a request ended without saying anything about the node."""
        self._trial = False
