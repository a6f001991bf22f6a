"""What vLLM says while it loads: how far it is, and why it gave up. Pure.

Nothing of its log is taken for true but for the owner's eyes and a guess at the time left.
"""

import re
from typing import Final

from garage_ai.node.engines.load_time import with_guess
from garage_ai.node.fitting.signs import CARD_FULL, NO_CACHE, lacked_at_first

_STAGES: Final = (
    (re.compile(r"Initializing a V1 LLM engine|non-default args"), "starting"),
    (re.compile(r"Starting to load model"), "loading weights"),
    (re.compile(r"Loading weights took"), "weights are loaded"),
    (re.compile(r"torch\.compile|Compiling a graph|Dynamo bytecode"), "compiling"),
    (re.compile(r"Capturing CUDA graphs|Graph capturing"), "capturing CUDA graphs"),
    (re.compile(r"KV cache size"), "making the cache"),
    (re.compile(r"Application startup complete"), "warming up"),
)
_SHARDS: Final = re.compile(r"checkpoint shards:\s*\d+% Completed \| (\d{1,5})/(\d{1,5}) ")
_CAPTURED: Final = re.compile(r"Capturing CUDA graphs[^:]*:\s*(\d{1,3})%")
_CAUSE: Final = re.compile(r"\b(\w*(?:Error|Exception|error)): (\S.{0,300})")
# What is said after the fact, by the processes that were waiting for the one that failed.
_AFTERWARDS: Final = re.compile(
    r"See root cause above|Engine core initialization failed|WorkerProc"
)

_ADVICE: Final = (
    (
        re.compile(r"Free memory on device"),
        "other programs hold the card's memory; close them, or lower --memory-share",
    ),
    (
        CARD_FULL,
        "the card's memory does not suffice; lower --context or --slots",
    ),
    (
        NO_CACHE,
        "no room is left for the cache; lower --context, or raise --memory-share",
    ),
)


class Story:
    """One start of vLLM, as its log tells it; `before` is how long the last good one took."""

    def __init__(self, now: float, before: float = 0.0) -> None:
        self._began = now
        self._before = before
        self._stage = "starting"
        self._detail = ""
        self.cause = ""
        self.lacked = 0
        """Bytes of a card that it had itself taken before it looked what is free."""

    def hear(self, line: str) -> bool:
        """Take a line; True if it tells how far the loading is."""
        if not self.cause:
            found = _CAUSE.search(line)
            if found and not _AFTERWARDS.search(line):
                self.cause = _advised(f"{found[1]}: {found[2].strip()}")
        self.lacked = max(self.lacked, lacked_at_first(line))
        before = (self._stage, self._detail)
        for pattern, stage in _STAGES:
            if pattern.search(line):
                self._stage, self._detail = stage, ""
        shards, captured = _SHARDS.search(line), _CAPTURED.search(line)
        if shards:
            self._stage, self._detail = "loading weights", f" {shards[1]}/{shards[2]}"
        elif captured:
            self._detail = f" {captured[1]} %"
        return (self._stage, self._detail) != before

    def words(self, now: float) -> str:
        """Say how far it is: `loading weights 2/4; about 40 s left`."""
        return with_guess(f"{self._stage}{self._detail}", self.left(now))

    def left(self, now: float) -> float:
        """Guess the seconds left, from the last good start; 0 where there was none."""
        if not self._before:
            return 0.0
        return max(1.0, self._before - (now - self._began))

    def took(self, now: float) -> float:
        """Give the seconds since it began."""
        return now - self._began


def _advised(cause: str) -> str:
    advice = next((words for pattern, words in _ADVICE if pattern.search(cause)), "")
    return f"{advice} ({cause})" if advice else cause


__all__ = ["Story"]
