"""What was measured before, the newest last, and what has changed since."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
import structlog

from garage_ai.wire.benchmarks import Benchmark
from garage_ai.wire.secret_files import SecretFileError, read_secret, replace_secret

_log = structlog.get_logger(__name__)

FILE: Final = "benchmarks.json"
KEPT: Final = 50
NOTABLE: Final = 0.15
"""Change beyond which a speed is told to have changed: two runs of one engine differ by less."""


class Drift(msgspec.Struct, frozen=True):
    """How a speed at so many streams has changed; `change` is a share of what it was."""

    streams: int
    before: float
    now: float
    change: float


_histories: Final[msgspec.json.Decoder[tuple[Benchmark, ...]]] = msgspec.json.Decoder(
    Annotated[tuple[Benchmark, ...], msgspec.Meta(max_length=KEPT)]
)


def load_history(folder: Path) -> tuple[Benchmark, ...]:
    """Read what was measured; nothing where the file is not there or not whole."""
    path = folder / FILE
    if not path.exists():
        return ()
    try:
        return _histories.decode(read_secret(path))
    except (SecretFileError, msgspec.MsgspecError, RecursionError) as error:
        _log.warning("benchmarks_unreadable", detail=str(error)[:200])
        return ()


def keep(folder: Path, benchmark: Benchmark) -> None:
    """Add a measurement, and let the oldest go."""
    kept = (*load_history(folder), benchmark)[-KEPT:]
    replace_secret(folder / FILE, msgspec.json.format(msgspec.json.encode(kept)).decode() + "\n")


def drift(history: tuple[Benchmark, ...], now: Benchmark) -> tuple[Drift, ...]:
    """Compare with the last time the same engine ran the same model; only what is notable."""
    alike = [each for each in history if _same(each, now)]
    if not alike:
        return ()
    before = {level.streams: level.decode for level in alike[-1].levels}
    found = []
    for level in now.levels:
        was = before.get(level.streams, 0.0)
        change = (level.decode - was) / was if was else 0.0
        if abs(change) > NOTABLE:
            found.append(Drift(level.streams, was, level.decode, round(change, 3)))
    return tuple(found)


def _same(one: Benchmark, other: Benchmark) -> bool:
    return (one.engine, one.digest, one.slots) == (other.engine, other.digest, other.slots)


__all__ = ["FILE", "KEPT", "NOTABLE", "Drift", "drift", "keep", "load_history"]
