"""Folders for their owner alone."""

import stat
from pathlib import Path

import pytest

from garage_ai.wire.secret_files import make_private_folder


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
