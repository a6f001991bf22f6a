"""Folders for their owner alone."""

import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.parts.full_disk import full_disk

from garage_ai.cli.reason_words import in_swedish
from garage_ai.wire.secret_files import (
    SecretDamaged,
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


@pytest.fixture
def reachable() -> Iterator[Path]:
    """Make a folder that other users get to, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_folder_that_was_there_for_something_else_is_left_open(reachable: Path) -> None:
    """Root who names /var/lib as the data folder would close it to every service."""
    (reachable / "dpkg").mkdir()
    with pytest.raises(PermissionError, match="choose a folder of its own"):
        make_private_folder(reachable)
    assert stat.S_IMODE(reachable.stat().st_mode) == 0o755
    make_private_folder(reachable / "garage-ai")
    assert stat.S_IMODE((reachable / "garage-ai").stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["garage.db", "identity.json", "trusted", "lost+found"])
def test_a_folder_of_ours_is_tightened_with_what_is_in_it(reachable: Path, name: str) -> None:
    """One that was copied, that an invite made, or that is a disk of its own."""
    (reachable / name).touch()
    make_private_folder(reachable)
    assert stat.S_IMODE(reachable.stat().st_mode) == 0o700


def test_a_folder_that_others_do_not_get_to_is_tightened(tmp_path: Path) -> None:
    """It is shut to them already."""
    tmp_path.chmod(0o700)
    folder = tmp_path / "logs"
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "engine.log").touch()
    make_private_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_disk_that_keeps_no_rights_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows' disks inside WSL: keys there were refused, with a `chmod` that changes nothing."""
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o777)
    with monkeypatch.context() as windows:
        windows.setattr(Path, "chmod", lambda *_: None)
        with pytest.raises(PermissionError, match="a disk of Linux") as told:
            make_private_folder(folder)
    reason = str(told.value.strerror)
    assert in_swedish(reason) != reason


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


def test_a_file_that_is_too_long_is_told_and_never_cut(tmp_path: Path) -> None:
    """What was read of it would look whole to whoever asked for it."""
    create_secret(tmp_path / "data" / "long", "x" * 70_000)
    with pytest.raises(SecretDamaged, match="too long"):
        read_secret(tmp_path / "data" / "long")
    assert read_secret(tmp_path / "data" / "long", most=70_000) == "x" * 70_000
