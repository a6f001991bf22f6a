"""LiteLLM's own environment: which versions may be in it, and how it is made."""

import os
from pathlib import Path

import pytest

from garage_ai.integrations.litellm import BadVersion, Environment, EnvironmentFailed, judge
from garage_ai.integrations.litellm import environment as module


@pytest.mark.parametrize("version", ["1.82.7", "1.82.8", "1.83.13", "0.9.0", "2", "", "x"])
def test_a_bad_version_is_refused(version: str) -> None:
    """Two releases stole secrets, older ones had a hole before the login."""
    with pytest.raises(BadVersion):
        judge(version)


@pytest.mark.parametrize("version", ["1.83.14", "1.108.7", "2.0.0", "1.90.0rc1"])
def test_a_good_version_may_run(version: str) -> None:
    """From the floor on."""
    judge(version)


def test_our_list_of_packages_names_a_good_version() -> None:
    """Found in a checkout as in a wheel."""
    environment = Environment(Path("/nowhere"))
    judge(environment.version)
    assert len(environment.packages) > 80
    assert not environment.is_ready


def test_a_list_with_a_bad_version_is_refused(tmp_path: Path) -> None:
    """Before anything is fetched."""
    lock = tmp_path / "bad.lock"
    lock.write_text("litellm==1.82.8 \\\n    --hash=sha256:00\n")
    with pytest.raises(BadVersion, match="thief"):
        Environment(tmp_path / "env", lock)


def _uv(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program in uv's place."""
    folder.mkdir()
    (folder / "uv").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "uv").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def _lock(folder: Path, version: str = "1.108.7") -> Path:
    lock = folder / "litellm.lock"
    lock.write_text(f"litellm=={version} \\\n    --hash=sha256:00\n")
    return lock


MAKES = r"""
for last; do :; done
case $1 in
  venv) mkdir -p "$last/bin" "$last/lib/python3.11/site-packages/litellm-$V.dist-info"
        printf 'Metadata-Version: 2.1\nName: litellm\nVersion: %s\n' "$V" \
          > "$last/lib/python3.11/site-packages/litellm-$V.dist-info/METADATA"
        ln -s "$PY" "$last/bin/python" ;;
esac
"""


@pytest.fixture
def installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installer that puts in litellm, version $V."""
    import sys

    monkeypatch.setenv("PY", sys.executable)
    monkeypatch.setenv("V", "1.108.7")
    _uv(tmp_path / "bin", MAKES, monkeypatch)


def test_it_is_made_once_and_others_go(
    tmp_path: Path, installer: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second call finds it; that of another list is removed."""
    folder = tmp_path / "environments"
    (folder / "litellm-0123456789abcdef").mkdir(parents=True)
    environment = Environment(folder, _lock(tmp_path))
    told: list[tuple[int, int]] = []
    environment.make(lambda done, count: told.append((done, count)))
    assert environment.is_ready
    assert [path.name for path in folder.glob("litellm-*")] == [environment.home.name]
    monkeypatch.setenv("PATH", "/nowhere")
    environment.make(lambda *_: None)


def test_what_was_installed_is_judged_not_what_was_asked(
    tmp_path: Path, installer: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installer that brings another version makes no environment."""
    monkeypatch.setenv("V", "1.82.7")
    environment = Environment(tmp_path / "environments", _lock(tmp_path))
    with pytest.raises(BadVersion):
        environment.make(lambda *_: None)
    assert not environment.is_ready


def test_an_installer_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last words come along, and the next try begins anew."""
    _uv(tmp_path / "bin", "echo no space left >&2; exit 3", monkeypatch)
    environment = Environment(tmp_path / "environments", _lock(tmp_path))
    with pytest.raises(EnvironmentFailed, match="3") as caught:
        environment.make(lambda *_: None)
    assert caught.value.lines == ("no space left",)


def test_an_installer_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves no process."""
    monkeypatch.setattr(module, "INSTALL_SECONDS", 0.2)
    _uv(tmp_path / "bin", "exec sleep 60", monkeypatch)
    environment = Environment(tmp_path / "environments", _lock(tmp_path))
    with pytest.raises(EnvironmentFailed, match="no end"):
        environment.make(lambda *_: None)
