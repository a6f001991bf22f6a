"""A circuit breaker: a node that keeps failing is left alone for a while."""

from typing import Final

FAILURES_TO_OPEN: Final = 3
FIRST_PAUSE: Final = 10.0
LONGEST_PAUSE: Final = 300.0
NEED_PAUSE: Final = 1.0
"""Between failed trials of a node while nobody else can serve."""
MOST_ANEW: Final = 3
"""New processes of a node that are tried without its pause before one of them answers."""


class Breaker:
    """Count failures in a row; open for 10 s, doubling to 300 s, until one trial succeeds.

    Where nobody else can serve, a trial that may work is better than a refusal that cannot: then
    one is let through a second after the last that failed, and the next as soon as it has spoken.

    What was under way when a failure was counted and then fails too, fails of the same cause: a
    node that is killed with eight requests on it has failed once.

    Pure: the caller gives the time in seconds. Refusals (`busy`), rejections of a request and an
    engine's 401, 403 or 429 are no failures and must not be told to it.
    """

    __slots__ = ("_anew", "_failed_at", "_failures", "_open_until", "_pause", "_spoke", "_trial")

    def __init__(self) -> None:
        self._anew = 0
        self._failures = 0
        self._failed_at = float("-inf")
        self._open_until = 0.0
        self._pause = FIRST_PAUSE
        self._trial = False
        self._spoke = False

    @property
    def is_open(self) -> bool:
        """Tell whether the node is left alone but for trials."""
        return self._failures >= FAILURES_TO_OPEN

    def allows(self, now: float, *, in_need: bool = False) -> bool:
        """Tell whether a request may go to the node now; `in_need` when no other can serve it."""
        if not self.is_open:
            return True
        if in_need:
            since = min(self._open_until, self._failed_at + NEED_PAUSE)
            return now >= since and (self._spoke or not self._trial)
        return now >= self._open_until and not self._trial

    def started(self) -> None:
        """Note that a request goes out; with the breaker open it is the one trial."""
        if self.is_open:
            self._trial = True
            self._spoke = False

    def spoke(self) -> None:
        """Note the first content of an answer."""
        self._spoke = True

    def succeeded(self) -> None:
        """Note a whole answer: all is forgotten."""
        self._anew = 0
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._trial = False

    def failed(self, now: float, begun: float) -> None:
        """Note that a request which began at a moment failed through the node or its engine."""
        if begun < self._failed_at:
            return
        self._failures += 1
        self._failed_at = now
        if not self.is_open:
            return
        self._open_until = now + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        self._trial = False

    def began_anew(self) -> None:
        """Note that the node is another process by now: it need not wait for its trial.

        Not for ever: a node that fails may say so with each beat.
        """
        if not self.is_open or self._anew >= MOST_ANEW:
            return
        self._anew += 1
        self._open_until = 0.0
        self._trial = False

    def spared(self) -> None:
        """Note that a request ended without saying anything about the node."""
        self._trial = False
