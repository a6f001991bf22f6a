"""The file of the admin key."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from garage_ai.accounts import AdminKeyUnusable
from garage_ai.accounts.admin_key import read_or_make, replace
from garage_ai.accounts.secrets import KEY_PREFIX, digest_of, new_secret


def test_the_file_is_made_once(tmp_path: Path) -> None:
    """It holds only the key, is its owner's alone, and the second start finds it."""
    path = tmp_path / "data" / "admin.key"
    key = read_or_make(path)
    assert digest_of(KEY_PREFIX, key) is not None
    assert path.read_text() == key + "\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_or_make(path) == key
    assert [file.name for file in path.parent.iterdir()] == ["admin.key"]


def test_starts_at_once_agree(tmp_path: Path) -> None:
    """Whoever comes second takes the first one's key."""
    path = tmp_path / "admin.key"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: read_or_make(path), range(40)))
    assert keys == {path.read_text().strip()}


def test_a_wide_mode_is_narrowed(tmp_path: Path) -> None:
    """A file that others could read is closed to them."""
    path = tmp_path / "admin.key"
    key = new_secret(KEY_PREFIX)
    path.write_text(key)
    path.chmod(0o644)
    assert read_or_make(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"gai_typo", b"\xff\xfe", b"x" * 5000])
def test_a_file_without_a_key_is_left_alone(tmp_path: Path, content: bytes) -> None:
    """What is no key is neither used nor overwritten; the message names the file."""
    path = tmp_path / "admin.key"
    path.write_bytes(content)
    with pytest.raises(AdminKeyUnusable, match=r"admin\.key"):
        read_or_make(path)
    assert path.read_bytes() == content


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A link to elsewhere is refused, dangling or not."""
    path = tmp_path / "admin.key"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AdminKeyUnusable):
        read_or_make(path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_pipe_does_not_hang_the_start(tmp_path: Path) -> None:
    """Something that is no file is refused at once."""
    path = tmp_path / "admin.key"
    os.mkfifo(path)
    with pytest.raises(AdminKeyUnusable, match="not a plain file"):
        read_or_make(path)


def test_a_folder_in_the_way_is_told(tmp_path: Path) -> None:
    """Where no file can be made the error says so, and nothing is left beside."""
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(AdminKeyUnusable):
        read_or_make(tmp_path / "data" / "admin.key")


def test_a_key_can_be_replaced(tmp_path: Path) -> None:
    """The file changes in one step, with the same mode."""
    path = tmp_path / "admin.key"
    before = read_or_make(path)
    after = replace(path)
    assert after != before
    assert read_or_make(path) == after
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["admin.key"]
