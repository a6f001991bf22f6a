"""What was measured before, the newest last."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
import structlog

from garage_ai.wire.benchmarks import Benchmark
from garage_ai.wire.secret_files import SecretFileError, read_secret, replace_secret

_log = structlog.get_logger(__name__)

FILE: Final = "benchmarks.json"
KEPT: Final = 50
_LONGEST: Final = 60_000
"""Characters; a file for the owner alone may have 64 KiB."""

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
    while len(text := msgspec.json.encode(kept)) > _LONGEST:
        kept = kept[1:]
    replace_secret(folder / FILE, text.decode() + "\n")


__all__ = ["FILE", "KEPT", "keep", "load_history"]
