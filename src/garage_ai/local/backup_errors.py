"""What can keep a backup from being made or restored.

BackupError             code
├── FileTaken           backup_file_taken      there is a file of that name already
├── NothingThere        backup_nothing_there   the folder holds no network
├── BackupDamaged       backup_damaged         no backup, or not as it was written
├── BackupTooNew        backup_too_new         a newer version wrote it
├── TargetNotEmpty      target_not_empty       what it would go to holds something
└── HalfRestored        half_restored          another backup was begun there and not finished
"""

from collections.abc import Sequence
from pathlib import Path


class BackupError(Exception):
    """Anything wrong with a backup; the message says what to do."""

    code = "backup_error"


class FileTaken(BackupError):
    code = "backup_file_taken"

    def __init__(self, file: Path) -> None:
        super().__init__(f"{file} is there already")
        self.file = file


class NothingThere(BackupError):
    code = "backup_nothing_there"

    def __init__(self, folder: Path) -> None:
        super().__init__(f"there are no keys of a network in {folder}")
        self.folder = folder


class BackupDamaged(BackupError):
    code = "backup_damaged"


class BackupTooNew(BackupError):
    code = "backup_too_new"


class TargetNotEmpty(BackupError):
    """`what` names all of it: files, folders, or `the database`."""

    code = "target_not_empty"

    def __init__(self, what: Sequence[str]) -> None:
        self.what = ", ".join(what)
        super().__init__(f"{self.what}: there is something already")


class HalfRestored(BackupError):
    """`left` is what the other restore has unpacked."""

    code = "half_restored"

    def __init__(self, folder: Path, left: Path) -> None:
        super().__init__(f"another backup was being restored into {folder}; it left {left}")
        self.folder, self.left = folder, left


__all__ = [
    "BackupDamaged",
    "BackupError",
    "BackupTooNew",
    "FileTaken",
    "HalfRestored",
    "NothingThere",
    "TargetNotEmpty",
]
