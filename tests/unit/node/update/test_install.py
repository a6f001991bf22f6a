"""What is done with a version before anything rests on it."""

import sys
from pathlib import Path

import pytest

from garage_ai.node.update import install as installing
from garage_ai.node.update.install import install
from garage_ai.node.update.release import Release
from garage_ai.node.update.versions import UNFINISHED, Versions

RELEASE = Release(
    version="9.8.7", sha256="a" * 64, size=5, locks={}, python="3.11", date="2026-11-25"
)


def test_a_version_is_on_the_disk_before_it_can_be_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut in the next moment leaves it whole, or unfinished; not of empty files."""
    versions = Versions(tmp_path)
    home = versions.home(RELEASE.version)
    seen: list[tuple[bool, bool]] = []
    sync = installing._sync

    def watched(folder: Path) -> None:
        sync(folder)
        proved = folder == home and (folder / "proved").exists()
        seen.append((proved, (folder / UNFINISHED).exists()))

    make = f"import pathlib; pathlib.Path({str(home / 'made')!r}).touch()"
    monkeypatch.setattr(installing, "sets_here", list)
    monkeypatch.setattr(installing, "_commands", lambda *_: [[sys.executable, "-c", make]])
    monkeypatch.setattr(installing, "prove", lambda *_: (home / "proved").touch())
    monkeypatch.setattr(installing, "_sync", watched)
    with versions.lock() as lock:
        install(versions, RELEASE, tmp_path / RELEASE.wheel, {}, lock)
    assert (home / "made").exists()
    assert seen == [(True, True)]
    assert not (home / UNFINISHED).exists()
