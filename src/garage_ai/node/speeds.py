"""How fast the engine is, from what goes past the agent anyway. Pure.

An event of a stream is taken for a token; that is what engines send, give or take. The read that
begins a stream starts its clock, and the one that ends it (usage, `[DONE]`) counts for nothing.
"""

import re
from typing import Final

LEAST_EVENTS: Final = 8
LEAST_SECONDS: Final = 0.05
LEAST_PROMPT: Final = 16
"""Fewer tokens of prompt tell how long a request takes to begin, not how fast prompts are read."""

WEIGHT: Final = 0.2
"""Share of the latest stream in the mean."""

# A text in the answer has its quotes escaped, so no model can say this.
_PROMPT_TOKENS: Final = re.compile(rb'"prompt_n":\s*(\d{1,9})\b')
_PROMPT_MS: Final = re.compile(rb'"prompt_ms":\s*(\d{1,9}(?:\.\d{1,30})?)\b')


class Pace:
    """One stream's pace; times in seconds, on one clock."""

    __slots__ = ("_before", "_began", "_events", "_late", "_latest", "tokens")

    def __init__(self) -> None:
        self._began = self._latest = -1.0
        self._events = 0
        self.tokens = 0
        """Events so far, without what came with the end."""
        self._before = self._late = b""

    def read(self, events: bytes, now: float, *, last: bool = False) -> None:
        """Take what one read gave, whole events; a tenth of a microsecond for a token."""
        if not events:
            return
        self._before, self._late = self._late, events
        if last:
            return
        count = events.count(b"\n\n")
        self.tokens += count
        if self._began < 0:
            self._began = now
        else:
            self._events += count
        self._latest = now

    def stalled(self) -> None:
        """Forget the decoding: the stream waited for its reader, not for its engine."""
        self._events = -(1 << 62)

    @property
    def decode(self) -> float:
        """Tokens of the answer per second; 0 when it was too short to tell."""
        seconds = self._latest - self._began
        if self._events < LEAST_EVENTS or seconds < LEAST_SECONDS:
            return 0.0
        return self._events / seconds

    @property
    def prefill(self) -> float:
        """Tokens of the prompt per second, if the engine said so at the end, as llama.cpp does."""
        end = self._before + self._late
        tokens, spent = _PROMPT_TOKENS.search(end), _PROMPT_MS.search(end)
        if tokens is None or spent is None:
            return 0.0
        count, ms = int(tokens[1]), float(spent[1])
        return count * 1000 / ms if count >= LEAST_PROMPT and ms > 0 else 0.0


class Speeds:
    """One model's speeds: exponentially weighted means over its streams, 0 when not measured."""

    __slots__ = ("_decode", "_prefill")

    def __init__(self) -> None:
        self._decode = self._prefill = 0.0

    def take(self, pace: Pace) -> None:
        """Take a stream that came to its end into the means."""
        self._decode = _mean(self._decode, pace.decode)
        self._prefill = _mean(self._prefill, pace.prefill)

    @property
    def decode(self) -> float:
        """Tokens of one answer per second, to one decimal."""
        return round(self._decode, 1)

    @property
    def prefill(self) -> float:
        """Tokens of one prompt per second, to one decimal."""
        return round(self._prefill, 1)


def _mean(before: float, latest: float) -> float:
    if not latest or not before:
        return latest or before
    return before + WEIGHT * (latest - before)


__all__ = ["LEAST_EVENTS", "LEAST_PROMPT", "LEAST_SECONDS", "WEIGHT", "Pace", "Speeds"]
