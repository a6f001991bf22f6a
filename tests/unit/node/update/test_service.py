"""Bringing a release, where the disk has no room for it."""

import errno
import os
from pathlib import Path

import pytest
from tests.parts.full_disk import full_disk

from garage_ai.node.errors import UpdateFailed
from garage_ai.node.folder import NodeFolder
from garage_ai.node.update import service
from garage_ai.node.update.plan import State
from garage_ai.node.update.release import Release
from garage_ai.node.update.service import Step, bring
from garage_ai.node.update.source import Source
from garage_ai.node.update.versions import Versions

pytestmark = pytest.mark.anyio

RELEASE = Release(
    version="9.8.7", sha256="a" * 64, size=5, locks={}, python="3.11", date="2026-11-25"
)


class NoRoom(Source):
    """A wheel that is larger than what the disk has left."""

    async def wheel(self, release: Release, into: Path) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Here(Source):
    """A wheel that is here already."""

    async def wheel(self, release: Release, into: Path) -> Path:
        return into / release.wheel


@pytest.mark.parametrize("source", [NoRoom, Here])
async def test_a_full_disk_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: type[Source]
) -> None:
    """While it is fetched, or in the last step: the folder is named, and nothing is chosen."""
    folder = NodeFolder(tmp_path / "node")
    monkeypatch.setattr(service, "check_wheel", lambda *_: {})
    monkeypatch.setattr(service, "install", lambda *_: None)
    told: list[Step] = []
    expected = f"{folder.path / 'versions'} cannot be used: No space left on device"
    with full_disk(monkeypatch), pytest.raises(UpdateFailed) as raised:
        await bring(folder, source("https://releases.example", "x"), RELEASE, 60.0, told.append)
    assert str(raised.value) == expected
    assert "chosen" not in told
    assert Versions(folder.path).load() == State()
