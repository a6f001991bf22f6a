"""What has changed since the last measurements, and what else has: driver, versions. Pure."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Final, Literal, NamedTuple

import msgspec

from garage_ai.wire.benchmarks import Benchmark, Level

Figure = Literal["decode", "prefill", "ttft", "load", "watt_hours", "memory"]
Fact = Literal["engine_version", "driver", "agent", "context", "gpus", "cpu"]

COMPARED: Final = 5
"""So many of the latest runs, by their median: one bad run is no yardstick, and a card that grows
slower by and by is noticed."""


class Drift(msgspec.Struct, frozen=True):
    """How a figure has changed; `streams` 0 where it is of the whole run, `change` a share."""

    figure: Figure
    streams: int
    before: float
    now: float
    change: float


class Change(msgspec.Struct, frozen=True):
    """What else is not as it was at the last run."""

    what: Fact
    before: str
    now: str


class Trend(msgspec.Struct, frozen=True):
    """What the last run found changed, and what may have caused it."""

    drift: tuple[Drift, ...] = ()
    changes: tuple[Change, ...] = ()


class _Limit(NamedTuple):
    """The share, and the amount, that a figure must differ by to be told."""

    share: float
    amount: float = 0.0


_LIMITS: Final[dict[Figure, _Limit]] = {
    # Two runs of one engine on one PC differ by less.
    "decode": _Limit(0.15),
    # Prompts are read in a second or so: what else the PC does weighs more.
    "prefill": _Limit(0.25),
    # The median of a few requests, milliseconds on a card.
    "ttft": _Limit(0.5, 0.05),
    # Whether the file was still in memory from the last time alone makes this difference.
    "load": _Limit(1.0, 2.0),
    # Clocks and fans follow the weather.
    "watt_hours": _Limit(0.2),
    # Buffers differ by some megabytes with the version.
    "memory": _Limit(0.1, 64e6),
}
_LEVELS: Final[dict[Figure, Callable[[Level], float]]] = {
    "decode": lambda level: level.decode,
    "prefill": lambda level: level.prefill,
    "ttft": lambda level: level.ttft,
}
_RUNS: Final[dict[Figure, Callable[[Benchmark], float | None]]] = {
    "load": lambda run: run.load,
    "watt_hours": lambda run: run.watt_hours,
    "memory": lambda run: run.memory,
}
_FACTS: Final[tuple[Fact, ...]] = (
    *("engine_version", "driver", "agent", "context", "gpus", "cpu"),
)


def drift(history: Sequence[Benchmark], now: Benchmark) -> tuple[Drift, ...]:
    """Compare with the last times the same engine ran the same model; only what is notable."""
    before = _alike(history, now)[-COMPARED:]
    found = []
    for figure, of_level in _LEVELS.items():
        for level in now.levels:
            known = [of_level(old) for run in before for old in _at(run, level.streams)]
            found += _drift(figure, level.streams, known, of_level(level))
    for figure, of_run in _RUNS.items():
        known = [value for run in before if (value := of_run(run)) is not None]
        found += _drift(figure, 0, known, of_run(now) or 0.0)
    return tuple(found)


def changes(history: Sequence[Benchmark], now: Benchmark) -> tuple[Change, ...]:
    """Tell what is not as it was at the last run of the same engine and model."""
    before = _alike(history, now)[-1:]
    pairs = ((what, _said(run, what), _said(now, what)) for run in before for what in _FACTS)
    return tuple(Change(*each) for each in pairs if each[1] != each[2] and each[1] and each[2])


def latest(history: Sequence[Benchmark], engine: str, digest: str) -> Trend:
    """Compare the last run of a model on an engine with those before it."""
    mine = [each for each in history if (each.engine, each.digest) == (engine, digest)]
    if not mine:
        return Trend()
    return Trend(drift(mine[:-1], mine[-1]), changes(mine[:-1], mine[-1]))


def _alike(history: Sequence[Benchmark], now: Benchmark) -> list[Benchmark]:
    key = (now.engine, now.digest, now.slots)
    return [each for each in history if (each.engine, each.digest, each.slots) == key]


def _at(run: Benchmark, streams: int) -> list[Level]:
    return [level for level in run.levels if level.streams == streams]


def _drift(figure: Figure, streams: int, known: Sequence[float], now: float) -> list[Drift]:
    told = [value for value in known if value > 0]
    if not told or now <= 0:
        return []
    before = median(told)
    limit = _LIMITS[figure]
    change = (now - before) / before
    if abs(change) <= limit.share or abs(now - before) <= limit.amount:
        return []
    return [Drift(figure, streams, before, now, round(change, 3))]


def _said(run: Benchmark, what: Fact) -> str:
    value = getattr(run, what)
    return ", ".join(value) if isinstance(value, tuple) else str(value)


__all__ = [
    "COMPARED",
    "Change",
    "Drift",
    "Fact",
    "Figure",
    "Trend",
    "changes",
    "drift",
    "latest",
]
