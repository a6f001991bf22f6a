"""Percentiles of samples, and how to pair rounds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Summary", "median", "quantile", "summary"]


@dataclass(frozen=True, slots=True)
class Summary:
    """Quantiles of one set of samples, in their own unit; all zero when there are none."""

    count: int
    p50: float
    p99: float
    mean: float
    worst: float


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the sample at that share (0..1) of an ordered sequence; 0 when it is empty."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(samples: Sequence[float]) -> float:
    """Return the median, 0 when there are no samples."""
    return statistics.median(samples) if samples else 0.0


def summary(samples: Sequence[float]) -> Summary:
    """Summarise samples in any order."""
    ordered = sorted(samples)
    if not ordered:
        return Summary(0, 0.0, 0.0, 0.0, 0.0)
    return Summary(
        count=len(ordered),
        p50=quantile(ordered, 0.5),
        p99=quantile(ordered, 0.99),
        mean=statistics.fmean(ordered),
        worst=ordered[-1],
    )
