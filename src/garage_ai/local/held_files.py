"""Files of batches on their way into a backup and out of one.

They are written once and deleted one by one, also while a backup is made. So each gets a second
name before the database is copied, and once more after it: of both, what the copy knows is kept.
"""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

_ASIDE: Final = ".backup-"
LEFT_SECONDS: Final = 86_400.0
"""What a backup that was killed has left is removed by one that begins so much later."""


class HeldFiles:
    """Second names of the files in a folder; without hard links, copies of them in `beside`."""

    def __init__(self, files: Path, held: Path, beside: Path) -> None:
        self._files = files
        self._held = held
        self._beside = beside
        self._kept: dict[str, Path] = {}

    def hold(self) -> None:
        """Hold all that there are. Raises: OSError."""
        for file in self._files.iterdir():
            if file.name not in self._kept and file.is_file():
                with contextlib.suppress(FileNotFoundError):
                    self._kept[file.name] = self._second(file)

    def of(self, places: Collection[str]) -> dict[str, Path]:
        """Give those that are held of some places."""
        return {place: self._kept[place] for place in sorted(places) if place in self._kept}

    def _second(self, file: Path) -> Path:
        try:
            linked = self._held / file.name
            linked.hardlink_to(file)
        except FileNotFoundError:
            raise
        except OSError:  # a file system without them, or another user's file
            return Path(shutil.copyfile(file, self._beside / file.name))
        return linked


@contextlib.contextmanager
def holding(files: Path, beside: Path) -> Iterator[HeldFiles | None]:
    """Hold the files of a folder for the length of a block; None where there is no such folder."""
    if not files.is_dir():
        yield None
        return
    for left in files.glob(f"{_ASIDE}*"):
        if time.time() - left.stat().st_mtime > LEFT_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix=_ASIDE, dir=files) as held,
        tempfile.TemporaryDirectory(prefix=_ASIDE, dir=beside) as copies,
    ):
        yield HeldFiles(files, Path(held), Path(copies))


__all__ = ["LEFT_SECONDS", "HeldFiles", "holding"]
