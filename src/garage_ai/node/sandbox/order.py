"""What an engine orders of a container: its command as seen inside, what it sees and may use."""

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from garage_ai.node.errors import NotPossible
from garage_ai.node.hardware.bounds import read_bounds
from garage_ai.node.sandbox.spec import Limits, Mount

RUN: Final = "/run/gai"
"""Where the engine's socket is to be."""

MODELS: Final = "/models"
INSIDE: Final = "/opt/garage"
"""Where what we bring along is."""

_SHARE: Final = 0.75
"""Of the PC's memory; the last quarter stays the owner's whatever the engine does."""


@dataclass(frozen=True, slots=True)
class Order:
    """One engine's container, but for what its launcher adds: image, name, labels, socket folder.

    Its first process must end, and all of it with it, once its stdin is closed. `network` is the
    namespace that the engine is put into, None for none but loopback.
    """

    command: tuple[str, ...]
    limits: Limits
    mounts: tuple[Mount, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    gpus: tuple[str, ...] = ()
    network: Path | None = None


def memory_limit() -> int:
    """Decide how much of this PC's memory an engine may use, in bytes."""
    return int(read_bounds().total(psutil.virtual_memory().total) * _SHARE)


def weights(path: Path) -> Mount:
    """See a model's file in MODELS, read-only. Raises: NotPossible."""
    # A store may call a file by its digest; inside it bears its own name.
    return Mount(readable(path), f"{MODELS}/{path.name}")


def readable(file: Path) -> Path:
    """Give the file itself, which the user inside must be able to read. Raises: NotPossible."""
    try:
        path = file.resolve(strict=True)
        mode = path.stat().st_mode
    except OSError as error:
        raise NotPossible(
            "{file} cannot be used: {error}",
            file=file,
            error=error.strerror,
        ) from error
    if not mode & stat.S_IROTH:
        raise NotPossible(
            "The engine's own user inside the sandbox cannot read {path}. Fix: chmod o+r '{path}'",
            path=path,
        )
    return path


__all__ = ["INSIDE", "MODELS", "RUN", "Order", "memory_limit", "readable", "weights"]
