"""What was fetched, how much of the owner's room it takes, and what leaves when that is used up.

Only files that the store itself wrote are ever removed: a label beside them names them, and tells
by its own time of change when the model was used last.
"""

import contextlib
import os
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec

from garage_ai.catalog.integrity import write_whole
from garage_ai.catalog.manifest import Manifest
from garage_ai.catalog.partial import Partial
from garage_ai.catalog.sources import RelativePath

MODELS: Final = "models"
LABEL: Final = ".model.json"


class Label(msgspec.Struct, frozen=True):
    """Which model's files lie here, and their names."""

    name: Annotated[str, msgspec.Meta(max_length=200)]
    files: tuple[RelativePath, ...]


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes that fetched models may take, and the digests of those that are never removed."""

    limit: int
    kept: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Held:
    """A model that was fetched; where nothing says which, `label` is None and `used_at` 0."""

    digest: str
    folder: Path
    size: int
    label: Label | None = None
    used_at: float = 0.0

    @property
    def name(self) -> str:
        """What people call it."""
        return self.label.name if self.label is not None else self.digest


def held(root: Path) -> list[Held]:
    """List what lies in a store's folder."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        folders = sorted((root / MODELS).iterdir())
        return [_held(each) for each in folders if each.is_dir() and not each.is_symlink()]
    return []


def stored_bytes(root: Path) -> int:
    """Say how much all that was fetched takes on the disk."""
    return sum(each.size for each in held(root))


def may_leave(shelf: Sequence[Held], room: Room) -> list[Held]:
    """Give those that may be removed, the longest unused first. Pure."""
    may = [each for each in shelf if each.label is not None and each.digest not in room.kept]
    return sorted(may, key=lambda each: each.used_at)


def mark_used(folder: Path, manifest: Manifest) -> None:
    """Note that the model in its folder is used now; a disk that is full loses the note alone."""
    label = Label(manifest.name, tuple(each.path for each in manifest.files))
    with contextlib.suppress(OSError):
        write_whole(folder / LABEL, msgspec.json.encode(label))
        os.utime(folder / LABEL, (time.time(), time.time()))


def remove(model: Held) -> None:
    """Remove what the label names, and the folders that are empty then. Raises: OSError."""
    files: Collection[str] = model.label.files if model.label is not None else ()
    for name in files:
        target = model.folder / name
        target.unlink(missing_ok=True)
        Partial(target).discard()
    (model.folder / LABEL).unlink(missing_ok=True)
    folders = {parent for name in files for parent in (model.folder / name).parents}
    inside = [each for each in folders if each.is_relative_to(model.folder)]
    for folder in sorted(inside, key=lambda each: len(each.parts), reverse=True):
        with contextlib.suppress(OSError):  # something else is in it
            folder.rmdir()


def _held(folder: Path) -> Held:
    size = sum(each.lstat().st_size for each in folder.rglob("*") if each.is_file())
    digest = f"sha256:{folder.name}"
    note = folder / LABEL
    try:
        label = msgspec.json.decode(note.read_bytes(), type=Label)
        return Held(digest, folder, size, label, note.stat().st_mtime)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return Held(digest, folder, size)


__all__ = [
    "LABEL",
    "MODELS",
    "Held",
    "Label",
    "Room",
    "held",
    "mark_used",
    "may_leave",
    "remove",
    "stored_bytes",
]
