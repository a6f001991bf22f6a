"""From the moments of streams to figures. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from garage_ai.wire.benchmarks import MAX_RATE, Level

CLOCK_STEP: Final = 1e-6
"""Seconds below which a difference says nothing."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One stream: when it was asked for, when its first and last token came, in seconds.

    `first` is None when no token came. `prefill` is the engine's own word, 0 if it says none.
    """

    began: float
    first: float | None = None
    last: float = 0.0
    prompt: int = 0
    tokens: int = 0
    prefill: float = 0.0


def level_of(streams: int, rounds: Sequence[Sequence[Timing]]) -> Level | None:
    """Sum up rounds of so many streams at a time; None when not one was answered."""
    good = [[each for each in round_ if each.first is not None] for round_ in rounds]
    answered = [each for round_ in good for each in round_]
    if not answered:
        return None
    waits = [each.first - each.began for each in answered if each.first is not None]
    asked = sum(len(round_) for round_ in rounds)
    return Level(
        streams=streams,
        answered=len(answered),
        failed=asked - len(answered),
        decode=_rounded([_decode(round_) for round_ in good if round_]),
        prefill=_rounded([_prefill(round_) for round_ in good if round_]),
        ttft=round(median(waits), 4),
        ttft_worst=round(max(waits), 4),
    )


def _decode(round_: Sequence[Timing]) -> float:
    """Give the tokens per second of all streams from the first token of any to the last."""
    firsts = [each.first for each in round_ if each.first is not None]
    spent = max(each.last for each in round_) - min(firsts)
    # The first token of each was made in prefill.
    made = sum(max(0, each.tokens - 1) for each in round_)
    return made / spent if spent > CLOCK_STEP else 0.0


def _prefill(round_: Sequence[Timing]) -> float:
    """Give the tokens per second of all prompts; one alone is the engine's own word, if it has."""
    if len(round_) == 1 and round_[0].prefill:
        return round_[0].prefill
    firsts = [each.first for each in round_ if each.first is not None]
    spent = max(firsts) - min(each.began for each in round_)
    return sum(each.prompt for each in round_) / spent if spent > CLOCK_STEP else 0.0


def _rounded(rates: Sequence[float]) -> float:
    # An engine counts its tokens itself: what no engine can do was not measured.
    measured = [rate for rate in rates if 0 < rate <= MAX_RATE]
    return round(median(measured), 1) if measured else 0.0


__all__ = ["Timing", "level_of"]
