"""How long an engine takes to load: kept from the last good time, told as a guess."""

import contextlib
from pathlib import Path
from typing import Final

from garage_ai.wire.ids import Digest

_MOST: Final = 86_400.0


def took_before(folder: Path, kind: str, digest: Digest) -> float:
    """Give the seconds that this model's last good load took here; 0 where none is known."""
    with contextlib.suppress(OSError, ValueError):
        seconds, of = _file(folder, kind).read_text("ascii").split()
        if of == digest:
            return max(0.0, min(float(seconds), _MOST))
    return 0.0


def keep_took(folder: Path, kind: str, digest: Digest, seconds: float) -> None:
    """Keep it for the next start; where that fails the next one has no guess."""
    with contextlib.suppress(OSError):
        _file(folder, kind).write_text(f"{seconds:.1f} {digest}\n", "ascii")


def with_guess(words: str, left: float) -> str:
    """Say how far a load is, and about how many seconds are left, if there is a guess."""
    return f"{words}; about {_rounded(left)} s left" if left else words


def _rounded(seconds: float) -> int:
    """Round as a guess is: to five seconds, to thirty from a minute on."""
    step = 5 if seconds < 60 else 30
    return max(step, round(seconds / step) * step)


def _file(folder: Path, kind: str) -> Path:
    return folder / f"{kind}-load-seconds"


__all__ = ["keep_took", "took_before", "with_guess"]
