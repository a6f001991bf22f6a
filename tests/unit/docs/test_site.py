"""The site that is made of the pages."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.parts.tree import ROOT


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_site_builds_without_a_warning(tmp_path: Path) -> None:
    """Sphinx finds every page, link and picture."""
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "docs", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (built.returncode, built.stderr) == (0, "")
    assert (tmp_path / "tutorial/kom-igang.html").exists()
