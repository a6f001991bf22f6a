"""The generated pages say what the code says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from docs.generate import pages
from tests.parts.tree import ROOT


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the generator as a writer of docs does, whatever his own settings are."""
    return subprocess.run(
        [sys.executable, "-m", "docs.generate", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_pages_are_up_to_date() -> None:
    """Code and pages agree, also for a Swede with settings of his own."""
    done = run("--check", LANG="sv_SE.UTF-8", GAI_PORT="9999", XDG_DATA_HOME="/elsewhere")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_stale_page_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is missing or says something else is named, and writing mends it."""
    monkeypatch.setattr(pages, "PAGES", {"one.md": lambda: "1\n", "two.md": lambda: "2\n"})
    assert pages.stale(tmp_path) == ["one.md", "two.md"]
    assert pages.write(tmp_path) == [tmp_path / "one.md", tmp_path / "two.md"]
    (tmp_path / "two.md").write_text("3\n")
    assert pages.stale(tmp_path) == ["two.md"]
    assert pages.write(tmp_path) == [tmp_path / "two.md"]
    assert pages.stale(tmp_path) == []


def test_wrong_arguments_are_told() -> None:
    """The generator takes one option and says so."""
    assert run("--chek").returncode == 2
