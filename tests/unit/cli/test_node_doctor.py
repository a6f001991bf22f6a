"""`gai node doctor`, as its owner types it."""

from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from garage_ai.cli import node
from garage_ai.cli.node_doctor import ReportShown
from garage_ai.cli.node_findings import show_findings
from garage_ai.node.folder import NodeFolder
from garage_ai.node.preflight.models import Finding


def test_a_pc_that_can_serve_is_told_so(tmp_path: Path) -> None:
    """For a server of the owner's own this PC is good enough; the exit code says so."""
    done = CliRunner().invoke(
        node.app, ["doctor", "--engine", "external", "--data-dir", str(tmp_path / "n")]
    )
    assert done.exit_code == 0, done.output
    assert "external" in done.output.splitlines()[-1]


def test_programs_get_cases_and_people_sentences(tmp_path: Path) -> None:
    """JSON holds the PC, each finding with a stable case, and whether all is well."""
    words = ["doctor", "--engine", "external", "--json", "--data-dir", str(tmp_path / "n")]
    shown = msgspec.json.decode(CliRunner().invoke(node.app, words).stdout, type=ReportShown)
    assert shown.ok
    assert shown.pc.system == "Linux"
    found = {each.check: each for each in shown.findings}
    assert (found["folder"].case, found["folder"].state) == ("new", "ok")
    assert all(each.sentence for each in shown.findings)


def test_fix_closes_the_folder(tmp_path: Path) -> None:
    """A key that others may read fails the check until `--fix` has been there."""
    folder = NodeFolder(tmp_path / "n")
    folder.prepare()
    (folder.path / "node.nk").write_text("secret")
    (folder.path / "node.nk").chmod(0o644)
    words = ["doctor", "--engine", "external", "--data-dir", str(folder.path)]
    before = CliRunner().invoke(node.app, words)
    assert before.exit_code == 1
    assert "node.nk" in before.output
    after = CliRunner().invoke(node.app, [*words, "--fix"])
    assert after.exit_code == 0, after.output
    assert (folder.path / "node.nk").stat().st_mode & 0o777 == 0o600
    assert f"{folder.path / 'node.nk'}" in after.output.splitlines()[0]


def test_what_a_driver_says_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Words of other programs are shown without control characters."""
    show_findings([Finding("gpu", "fail", "no_driver", {"problem": "bad\x1b[31m driver"})])
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "→" in shown
