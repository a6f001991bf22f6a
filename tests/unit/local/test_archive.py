"""A backup's file: private, whole or not there, and never believed before it was checked."""

import errno
import os
import stat
import tarfile
from io import BytesIO
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from garage_ai.local.archive import MANIFEST, read_manifest, unpack, write_archive
from garage_ai.local.backup_errors import BackupDamaged, BackupTooNew, FileTaken

FILES = {
    "garage.db": b"SQLite format 3\0" + bytes(range(256)) * 40,
    "admin.key": b"gai_secret\n",
    "nats/authority/garage-signing.nk": b"SA...",
    "tls/ca.pem": b"",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    found = {}
    for number, (name, content) in enumerate(FILES.items()):
        found[name] = folder / str(number)
        found[name].write_bytes(content)
    return found


@pytest.fixture(scope="module")
def backup(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("backup") / "backup.tar"
    write_archive(target, files, "0005")
    return target


def test_a_backup_is_one_private_file(files: dict[str, Path], tmp_path: Path) -> None:
    """Nobody else may read it, whatever the umask, and nothing is left beside it."""
    before = os.umask(0)
    try:
        write_archive(tmp_path / "backup.tar", files, "0005")
    finally:
        os.umask(before)
    assert [each.name for each in tmp_path.iterdir()] == ["backup.tar"]
    assert stat.S_IMODE((tmp_path / "backup.tar").stat().st_mode) == 0o600


def test_what_went_in_comes_out(backup: Path, tmp_path: Path) -> None:
    """The same names, the same bytes, for their owner alone; the manifest tells all before."""
    manifest = unpack(backup, tmp_path)
    assert manifest == read_manifest(backup)
    assert manifest.revision == "0005"
    found = {str(p.relative_to(tmp_path)): p for p in tmp_path.rglob("*") if p.is_file()}
    assert {name: path.read_bytes() for name, path in found.items()} == FILES
    assert {stat.S_IMODE(path.stat().st_mode) for path in found.values()} == {0o600}


def test_nothing_is_written_over(files: dict[str, Path], tmp_path: Path) -> None:
    """A file of that name stays as it is."""
    target = tmp_path / "backup.tar"
    target.write_text("mine")
    with pytest.raises(FileTaken):
        write_archive(target, files, "0005")
    assert target.read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("taken", [False, True])
def test_a_disk_without_hard_links_takes_a_backup(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    """A memory stick with FAT; there too nothing is written over, and nothing is left beside it."""

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    target = tmp_path / "backup.tar"
    if taken:
        target.write_text("mine")
        with pytest.raises(FileTaken):
            write_archive(target, files, "0005")
        assert target.read_text() == "mine"
    else:
        assert write_archive(target, files, "0005") == read_manifest(target)
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [target]


@given(data=st.data())
def test_no_damage_goes_unseen(
    backup: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A flipped byte or a missing end is told, or it was in what surrounds the content."""
    content = bytearray(backup.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[at:]
    else:
        content[at] ^= data.draw(st.integers(1, 255))
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "backup.tar").write_bytes(content)
    try:
        manifest = unpack(folder / "backup.tar", folder / "out")
    except (BackupDamaged, BackupTooNew):
        return
    for member in manifest.members:
        assert (folder / "out" / member.name).read_bytes() == FILES[member.name]


def forged(target: Path, manifest: dict[str, object], *members: tarfile.TarInfo) -> Path:
    body = msgspec.json.encode(manifest)
    first = tarfile.TarInfo(MANIFEST)
    first.size = len(body)
    with tarfile.open(target, "w") as tar:
        tar.addfile(first, BytesIO(body))
        for each in members:
            tar.addfile(each)
    return target


def named(*names: str) -> dict[str, object]:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    return {
        "format": 1,
        "version": "0",
        "revision": "0005",
        "made_at": "2026-11-01T12:00:00Z",
        "members": [{"name": name, "size": 0, "sha256": empty} for name in names],
    }


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/passwd", "nats/authority/../../evil", "nats/authority/.x", "run/up.json", ""],
)
def test_no_name_leads_elsewhere(tmp_path: Path, name: str) -> None:
    """A forged backup can write nowhere but where backups write."""
    source = forged(tmp_path / "b.tar", named("garage.db", name), tarfile.TarInfo("garage.db"))
    with pytest.raises(BackupDamaged):
        unpack(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_link_is_no_member(tmp_path: Path) -> None:
    """A forged link in the place of a file is refused."""
    link = tarfile.TarInfo("garage.db")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with pytest.raises(BackupDamaged):
        unpack(forged(tmp_path / "b.tar", named("garage.db"), link), tmp_path / "out")


@pytest.mark.parametrize("names", [("admin.key",), ("garage.db", "garage.db")])
def test_a_manifest_must_make_sense(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Without a database, or with a name twice, it is no backup."""
    with pytest.raises(BackupDamaged):
        read_manifest(forged(tmp_path / "b.tar", named(*names)))


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    """An older version says that it cannot read it, whatever else has changed."""
    with pytest.raises(BackupTooNew):
        read_manifest(forged(tmp_path / "b.tar", {"format": 3, "parts": []}))


@pytest.mark.parametrize("content", [b"", b"Dear diary", b"\0" * 10240])
def test_another_file_is_no_backup(tmp_path: Path, content: bytes) -> None:
    """Whatever else the name leads to is told from a backup."""
    (tmp_path / "b.tar").write_bytes(content)
    with pytest.raises(BackupDamaged):
        read_manifest(tmp_path / "b.tar")
