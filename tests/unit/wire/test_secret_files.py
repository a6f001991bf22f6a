"""Folders for their owner alone."""

import stat
from pathlib import Path

import pytest
from tests.parts.full_disk import full_disk

from garage_ai.wire.secret_files import (
    create_secret,
    make_private_folder,
    read_secret,
    replace_secret,
)


def test_a_folder_that_is_there_is_tightened(tmp_path: Path) -> None:
    """Whoever made it, and however."""
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o755)
    make_private_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_all_users_share_is_left_to_them(tmp_path: Path) -> None:
    """Root who names /tmp itself as the data folder would close it to everybody."""
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(PermissionError, match="shared"):
        make_private_folder(shared)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777


def test_a_disk_that_is_full_keeps_the_old_file_and_gets_no_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written beside it is removed: each try would fill the disk a little more."""
    folder = tmp_path / "data"
    create_secret(folder / "kept", "before")
    with full_disk(monkeypatch):
        for write, name in ((replace_secret, "kept"), (create_secret, "new")):
            with pytest.raises(OSError, match="No space left"):
                write(folder / name, "after")
    assert list(folder.iterdir()) == [folder / "kept"]
    assert read_secret(folder / "kept") == "before"
