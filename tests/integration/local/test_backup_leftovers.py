"""What lies beside a network's keys, and beside a backup: what others put there, and the killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest

from garage_ai.local.backup import Home, back_up, restore
from garage_ai.local.held_files import LEFT_SECONDS
from garage_ai.network.authority import Authority
from garage_ai.storage import Storage, sqlite_url

pytestmark = pytest.mark.anyio

KILLED: Final = """
import asyncio, os, signal, sys
from pathlib import Path
from garage_ai.local import archive, backup
from garage_ai.storage import sqlite_url
def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)
archive._give_name = kill  # all is written, and has no name yet
data = Path(sys.argv[1])
home = backup.Home(data, data / "nats", sqlite_url(data / "garage.db"))
asyncio.run(backup.back_up(home, Path(sys.argv[2])))
"""


@pytest.fixture
async def home(tmp_path: Path) -> Home:
    data = tmp_path / "network"
    made = Home(data, data / "nats", sqlite_url(data / "garage.db"))
    Authority.open_or_create(made.nats)
    await (await Storage.open(made.database_url)).close()
    return made


async def test_a_killed_backups_copies_leave_with_a_later_one(home: Home, tmp_path: Path) -> None:
    """A day later; one that may still run is left alone, and so is what is not ours."""
    place = tmp_path / "backups"
    place.mkdir()
    target = place / "network.tar"
    ended = subprocess.run(  # noqa: ASYNC221 - nothing else runs here
        [sys.executable, "-c", KILLED, str(home.data), str(target)], check=False, timeout=60
    )
    assert ended.returncode == -signal.SIGKILL
    [left] = place.iterdir()  # all in one folder, also the archive that was not whole
    assert (left / "garage.db").is_file()
    await back_up(home, target)
    assert left.exists()
    long_ago = time.time() - LEFT_SECONDS - 60
    os.utime(left, (long_ago, long_ago))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (place / ".garage-ai-backup-link").symlink_to(elsewhere)
    os.utime(place / ".garage-ai-backup-link", (long_ago, long_ago), follow_symlinks=False)
    await back_up(home, place / "later.tar")
    assert elsewhere.exists()
    assert sorted(each.name for each in place.iterdir()) == [
        ".garage-ai-backup-link",
        "later.tar",
        "network.tar",
    ]


async def test_what_is_not_ours_spoils_no_backup(home: Home, tmp_path: Path) -> None:
    """An editor's copy beside the certificate was in the backup, which nothing then restored."""
    tls = home.data / "tls"
    tls.mkdir(mode=0o700)
    for name in ("ca.pem", "ca.pem~", "#ca.pem#", "_old", "ca of May.pem", ".ca.pem.swp"):
        (tls / name).write_text(name)
    await back_up(home, tmp_path / "network.tar")
    data = tmp_path / "elsewhere"
    await restore(tmp_path / "network.tar", Home(data, data / "nats", sqlite_url(data / "new.db")))
    assert [(each.name, each.read_text()) for each in (data / "tls").iterdir()] == [
        ("ca.pem", "ca.pem")
    ]


@pytest.mark.system
async def test_a_restore_goes_into_volumes(home: Home, tmp_path: Path) -> None:
    """Each part may have a disk of its own, as in a container; no restore came to its end there."""
    (home.data / "tls").mkdir(mode=0o700)
    (home.data / "tls" / "ca.pem").write_text("a certificate")
    await back_up(home, tmp_path / "network.tar")
    data, disk = tmp_path / "elsewhere", tmp_path / "disk"
    places = data / "tls", disk
    for place in places:
        place.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", str(place)]
        subprocess.run(mount, check=True)  # noqa: ASYNC221
    try:
        there = Home(data, disk / "keys", sqlite_url(disk / "garage.db"))
        await restore(tmp_path / "network.tar", there)
        assert (data / "tls" / "ca.pem").read_text() == "a certificate"
        keys = [each.name for each in (home.nats / "authority").iterdir()]
        assert sorted(each.name for each in (disk / "keys" / "authority").iterdir()) == sorted(keys)
        assert sorted(each.name for each in disk.iterdir()) == ["garage.db", "keys"]
        assert not list(data.glob(".restore*"))
    finally:
        for place in places:
            subprocess.run(["umount", place], check=True)  # noqa: ASYNC221
