"""A network goes into one file and comes out again: on either database, whole or not at all."""

import errno
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tarfile import TarInfo
from typing import Any, Final

import pytest
from sqlalchemy import insert
from tests.databases import Server

from garage_ai.accounts import KeyRing
from garage_ai.local import backup
from garage_ai.local.archive import Manifest, _header, write_archive
from garage_ai.local.backup import Home, back_up, restore
from garage_ai.local.backup_errors import (
    BackupDamaged,
    FileTaken,
    HalfRestored,
    NothingThere,
    TargetNotEmpty,
)
from garage_ai.local.held_files import LEFT_SECONDS
from garage_ai.network.authority import Authority
from garage_ai.storage import OPERATOR, Storage, sqlite_url, tables
from garage_ai.wire.nkey import KeyPair, Role

pytestmark = pytest.mark.anyio


@dataclass(frozen=True, slots=True)
class Lived:
    """A network that has keys; `secret` is one of them."""

    home: Home
    secret: str
    admin: str


def home_of(data: Path, url: str | None = None) -> Home:
    return Home(data, data / "nats", url or sqlite_url(data / "garage.db"))


def make_keys(home: Home) -> None:
    Authority.open_or_create(home.nats)
    (home.data / "tls").mkdir(mode=0o700)
    (home.data / "tls" / "ca.pem").write_text("a certificate")


@pytest.fixture
async def lived(tmp_path: Path, database: str) -> Lived:
    home = home_of(tmp_path / "lived", database)
    make_keys(home)
    storage = await Storage.open(database)
    ring = await KeyRing.open(storage)
    admin = await ring.ensure_admin_key(home.data / "admin.key")
    _, secret = await ring.create("laptop")
    await ring.close()
    await storage.close()
    assert secret is not None
    return Lived(home, secret, admin)


async def works(lived: Lived, home: Home) -> bool:
    """Tell whether keys of before are known in another place, and the files are the same."""
    storage = await Storage.open(home.database_url)
    ring = await KeyRing.open(storage)
    try:
        ring.authenticate(lived.secret)
        assert await ring.ensure_admin_key(home.data / "admin.key") == lived.admin
        assert len(await ring.list()) == 2
    finally:
        await ring.close()
        await storage.close()
    return keys_of(home) == keys_of(lived.home)


def keys_of(home: Home) -> dict[str, bytes]:
    Authority.open_or_create(home.nats)
    folders = home.nats / "authority", home.data / "tls"
    files = [file for folder in folders for file in folder.iterdir()]
    return {f"{file.parent.name}/{file.name}": file.read_bytes() for file in files}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.system)])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    """A place for a restore, on either database."""
    if request.param == "sqlite":
        yield home_of(tmp_path / "elsewhere")
    else:
        server: Server = request.getfixturevalue("postgresql")
        with server.cluster.database() as url:
            yield home_of(tmp_path / "elsewhere", url)


async def test_a_network_comes_back(lived: Lived, elsewhere: Home, tmp_path: Path) -> None:
    """From either database into either: keys work, nodes' trust is the same, nothing is left."""
    made = await back_up(lived.home, tmp_path / "backup.tar")
    assert await restore(tmp_path / "backup.tar", elsewhere) == made
    assert await works(lived, elsewhere)
    assert not [each.name for each in left_over(elsewhere)]


async def test_a_node_that_is_cut_off_meanwhile_spoils_no_backup(
    lived: Lived, elsewhere: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A longer list takes the place of the one that was looked at: what is written fits."""
    authority = Authority.open_or_create(lived.home.nats)
    before = authority.garage_jwt()

    def cut_off(name: str, size: int) -> TarInfo:
        authority.record_revocation(KeyPair.generate(Role.USER).public)
        return _header(name, size)

    monkeypatch.setattr("garage_ai.local.archive._header", cut_off)
    await back_up(lived.home, tmp_path / "backup.tar")
    assert len(authority.garage_jwt()) > len(before)
    await restore(tmp_path / "backup.tar", elsewhere)
    assert Authority.open_or_create(elsewhere.nats).garage_jwt() == before


@pytest.fixture
async def files(lived: Lived) -> Path:
    """Two files of batches, as the database knows them; and what is none beside them."""
    folder = lived.home.data / "files"
    folder.mkdir(mode=0o700)
    storage = await Storage.open(lived.home.database_url)
    for number in (1, 2):
        (folder / f"place-{number}").write_bytes(b"a line\n" * number)
        async with storage.write() as connection:
            await connection.execute(
                insert(tables.files).values(
                    id=f"file-{number}",
                    member_id=OPERATOR,
                    key_id="key_1",
                    purpose="batch",
                    filename="in.jsonl",
                    bytes=7 * number,
                    status="processed",
                    created_at=datetime.now(UTC),
                    place=f"place-{number}",
                )
            )
    await storage.close()
    (folder / "place-3.part").write_bytes(b"half")
    (folder / ".DS_Store").write_bytes(b"not ours")
    (folder / "a b").write_bytes(b"not ours either")
    (folder / "lost+found").mkdir()
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def names_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


BOTH: Final = {"place-1": b"a line\n", "place-2": b"a line\na line\n"}


@pytest.mark.parametrize("links", [True, False])
async def test_files_of_batches_come_back_if_asked(
    lived: Lived, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Those that the database knows, also one that is deleted while the backup is written."""
    if not links:

        def refused(*_: object) -> None:
            raise OSError(errno.EXDEV, "another file system")

        monkeypatch.setattr(Path, "hardlink_to", refused)

    def deleted(*given: Any) -> Manifest:
        (files / "place-2").unlink()
        return write_archive(*given)

    monkeypatch.setattr("garage_ai.local.backup.write_archive", deleted)
    made = await back_up(lived.home, tmp_path / "backup.tar", with_files=True)
    assert (made.format, made.has_files) == (2, True)
    elsewhere = home_of(tmp_path / "elsewhere")
    (elsewhere.data / "files").mkdir(parents=True)  # a volume of its own
    await restore(tmp_path / "backup.tar", elsewhere)
    assert contents(elsewhere.data / "files") == BOTH
    assert await works(lived, elsewhere)
    assert not [name for name in names_in(files) if name.startswith(".backup")]


async def test_without_the_word_files_stay_where_they_are(
    lived: Lived, files: Path, tmp_path: Path
) -> None:
    """Such a backup is as older versions wrote it; what was put back by hand may be there."""
    made = await back_up(lived.home, tmp_path / "backup.tar")
    assert (made.format, made.has_files) == (1, False)
    elsewhere = home_of(tmp_path / "elsewhere")
    shutil.copytree(files, elsewhere.data / "files")
    await restore(tmp_path / "backup.tar", elsewhere)
    assert (elsewhere.data / "files" / "place-1").is_file()


async def test_what_a_killed_backup_held_is_let_go(
    lived: Lived, files: Path, tmp_path: Path
) -> None:
    """A day later; one that may still run is left alone."""
    old, fresh = files / ".backup-old", files / ".backup-fresh"
    for left in (old, fresh):
        left.mkdir()
        (left / "place-1").hardlink_to(files / "place-1")
    long_ago = time.time() - LEFT_SECONDS - 60
    os.utime(old, (long_ago, long_ago))
    await back_up(lived.home, tmp_path / "backup.tar", with_files=True)
    assert (old.exists(), fresh.exists()) == (False, True)


def left_over(home: Home) -> list[Path]:
    return list(home.data.glob(".restore*"))


def files_of(home: Home) -> list[str]:
    found = home.data.rglob("*") if home.data.exists() else ()
    return sorted(str(each.relative_to(home.data)) for each in found)


PARTS = ("nats/authority", "tls", "admin.key", "garage.db", "audit.head")


@pytest.mark.parametrize("part", PARTS)
async def test_nothing_is_written_over(lived: Lived, tmp_path: Path, part: str) -> None:
    """Where any part of a network is already, nothing is changed."""
    await back_up(lived.home, tmp_path / "backup.tar")
    home = home_of(tmp_path / "elsewhere")
    put(home.data / part)
    before = files_of(home)
    with pytest.raises(TargetNotEmpty, match=part):
        await restore(tmp_path / "backup.tar", home)
    assert files_of(home) == before


def put(part: Path) -> None:
    part.parent.mkdir(parents=True)
    if part.suffix:
        part.write_text("mine")
    else:
        part.mkdir()
        (part / "mine").write_text("mine")


async def test_what_a_killed_gateway_left_is_not_replayed(lived: Lived, tmp_path: Path) -> None:
    """All that is in the way is named at once; without it the database is the backup's alone."""
    await back_up(lived.home, tmp_path / "backup.tar")
    home = home_of(tmp_path / "killed")
    await restore(tmp_path / "backup.tar", home)
    storage = await Storage.open(home.database_url)
    ring = await KeyRing.open(storage)
    await ring.create("after the backup")
    left = {end: (home.data / f"garage.db{end}").read_bytes() for end in ("", "-wal", "-shm")}
    await ring.close()
    await storage.close()
    for end, content in left.items():  # as after kill -9: a closed database has no WAL
        (home.data / f"garage.db{end}").write_bytes(content)
    with pytest.raises(TargetNotEmpty) as refused:
        await restore(tmp_path / "backup.tar", home)
    parts = ("nats/authority", "tls", "admin.key", *(f"garage.db{end}" for end in left))
    assert refused.value.what.split(", ") == [str(home.data / part) for part in parts]
    (home.data / "garage.db").unlink()
    with pytest.raises(TargetNotEmpty, match=r"garage\.db-wal"):
        await restore(tmp_path / "backup.tar", home)
    for path in refused.value.what.split(", "):
        remove(Path(path))
    await restore(tmp_path / "backup.tar", home)
    assert await works(lived, home)  # two keys, as the backup holds


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


async def test_a_wal_that_came_after_the_first_look_is_not_replayed(
    lived: Lived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody started a gateway between a restore that was cut off and its end."""
    await back_up(lived.home, tmp_path / "backup.tar")
    home = home_of(tmp_path / "elsewhere")

    def cut(path: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(backup, "_put_keys", cut)
        with pytest.raises(KeyboardInterrupt):
            await restore(tmp_path / "backup.tar", home)
    wal = home.data / "garage.db-wal"
    wal.write_text("pages of another database")
    with pytest.raises(TargetNotEmpty, match=r"garage\.db-wal"):
        await restore(tmp_path / "backup.tar", home)
    wal.unlink()
    await restore(tmp_path / "backup.tar", home)
    assert await works(lived, home)


@pytest.mark.system
async def test_a_server_that_holds_something_is_left_alone(
    lived: Lived, tmp_path: Path, postgresql: Server
) -> None:
    """A database with tables is refused before a file is written."""
    await back_up(lived.home, tmp_path / "backup.tar")
    with postgresql.cluster.database(postgresql.template) as url:
        home = home_of(tmp_path / "elsewhere", url)
        with pytest.raises(TargetNotEmpty, match="database"):
            await restore(tmp_path / "backup.tar", home)
        assert files_of(home) == []


async def test_a_damaged_backup_leaves_nothing(lived: Lived, tmp_path: Path) -> None:
    """What fails its digest goes nowhere, and the sound copy may be restored after it."""
    await back_up(lived.home, tmp_path / "backup.tar")
    damage(tmp_path / "backup.tar", tmp_path / "damaged.tar")
    home = home_of(tmp_path / "elsewhere")
    with pytest.raises(BackupDamaged):
        await restore(tmp_path / "damaged.tar", home)
    await restore(tmp_path / "backup.tar", home)
    assert await works(lived, home)
    assert not left_over(home)


def damage(source: Path, target: Path) -> None:
    content = bytearray(source.read_bytes())
    at = content.rindex(b"a certificate")
    content[at] ^= 1
    target.write_bytes(content)


@pytest.mark.parametrize("moves", range(4))
async def test_a_restore_that_was_cut_off_is_finished(
    lived: Lived, elsewhere: Home, tmp_path: Path, moves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it was cut, the same again ends well; another backup in between is refused."""
    await back_up(lived.home, tmp_path / "backup.tar")
    await back_up(lived.home, tmp_path / "later.tar")
    done = 0
    rename = Path.rename

    def cut(path: Path, target: Path) -> Path:
        nonlocal done
        if done == moves:
            raise KeyboardInterrupt
        done += 1
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", cut)
        with pytest.raises(KeyboardInterrupt):
            await restore(tmp_path / "backup.tar", elsewhere)
    if moves:
        with pytest.raises(HalfRestored):
            await restore(tmp_path / "later.tar", elsewhere)
    await restore(tmp_path / "backup.tar", elsewhere)
    assert await works(lived, elsewhere)
    assert not left_over(elsewhere)


@pytest.mark.parametrize("part", ["none", "garage.db"])
async def test_a_restore_that_lost_only_its_end_is_finished(
    lived: Lived, elsewhere: Home, tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off once the database was there, it knows its rows again, or that they were put back."""
    await back_up(lived.home, tmp_path / "backup.tar")

    def cut(whole: Path) -> None:
        (whole / part).unlink(missing_ok=True)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", cut)
        with pytest.raises(KeyboardInterrupt):
            await restore(tmp_path / "backup.tar", elsewhere)
    await restore(tmp_path / "backup.tar", elsewhere)
    assert await works(lived, elsewhere)
    assert not left_over(elsewhere)


async def test_a_backup_replaces_nothing(lived: Lived, tmp_path: Path) -> None:
    """Neither another file, nor with nothing what should be a network."""
    await back_up(lived.home, tmp_path / "backup.tar")
    with pytest.raises(FileTaken):
        await back_up(lived.home, tmp_path / "backup.tar")
    with pytest.raises(NothingThere):
        await back_up(home_of(tmp_path / "nowhere"), tmp_path / "other.tar")
