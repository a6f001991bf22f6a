"""Environments of versions, and which of them can run."""

import time
from pathlib import Path

import pytest

from garage_ai.node.update.plan import INSTALLED, State, next_start
from garage_ai.node.update.versions import UNFINISHED, Versions

VERSION = "0.2.0"


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    """One version for Python 3.12, which is the Python of the system."""
    made = Versions(tmp_path)
    home = made.home(VERSION)
    (home / "bin").mkdir(parents=True)
    (home / "lib" / "python3.12" / "site-packages" / "garage_ai").mkdir(parents=True)
    (home / "bin" / "python").symlink_to("python3")
    (home / "bin" / "python3").symlink_to(tmp_path / "python3")
    becomes(tmp_path, "python3.12")
    return made


def becomes(folder: Path, name: str) -> None:
    """Let the system's Python be another one."""
    (folder / name).touch(0o755)
    (folder / "python3").unlink(missing_ok=True)
    (folder / "python3").symlink_to(name)


def test_a_version_whose_environment_is_for_another_python_cannot_run(
    versions: Versions, tmp_path: Path
) -> None:
    """After an upgrade of the system the installed version runs, and it is told why."""
    chosen = State(VERSION, INSTALLED)
    assert versions.can_run(VERSION)
    assert next_start(chosen, None, versions.can_run, 0.0) == chosen
    becomes(tmp_path, "python3.13")
    assert not versions.can_run(VERSION)
    state = next_start(chosen, None, versions.can_run, time.time())
    assert state.current == INSTALLED
    assert state.failed is not None
    assert (state.failed.version, state.failed.reason) == (
        VERSION,
        "its environment cannot be used",
    )


def test_a_python_whose_name_tells_no_version_is_taken_for_the_same(
    versions: Versions, tmp_path: Path
) -> None:
    """Nothing says that it is another one."""
    becomes(tmp_path, "python-of-ours")
    assert versions.can_run(VERSION)


def test_what_is_missing_or_unfinished_cannot_run(versions: Versions, tmp_path: Path) -> None:
    """Neither one that was never made, nor one whose Python is gone or that is being made."""
    assert not versions.can_run("0.3.0")
    (versions.home(VERSION) / UNFINISHED).touch()
    assert not versions.can_run(VERSION)
    (versions.home(VERSION) / UNFINISHED).unlink()
    (tmp_path / "python3").unlink()
    assert not versions.can_run(VERSION)
