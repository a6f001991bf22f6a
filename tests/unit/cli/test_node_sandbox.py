"""`gai node sandbox` and `image`: what is shown, and what a script can tell from it."""

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from garage_ai.cli import node, node_sandbox
from garage_ai.cli.errors import Failed
from garage_ai.cli.node_run import NodeFailed
from garage_ai.node import errors
from garage_ai.node.sandbox.check import Finding

GOLDEN = Path(__file__).parent.parent / "node" / "sandbox" / "golden"


@pytest.mark.parametrize("name", ["podman", "podman-cgroup-v1", "docker-gpus-without-cdi"])
def test_the_command_is_shown_an_option_a_line(name: str) -> None:
    """It can be read, and pasted: a shell makes of it the very words that are run."""
    argv = (GOLDEN / f"{name}.txt").read_text().splitlines()
    lines = node_sandbox._grouped(argv)
    assert shlex.split(" \\\n  ".join(lines).replace("\\\n", "")) == argv
    assert lines[0].endswith(" run")
    assert lines[-1].startswith("sha256:")
    assert all(line.startswith(("-", "'-")) for line in lines[1:-1])


HELD = Finding("ask DNS", held=True, words="no \x1b[31mway")
OPEN = Finding("mount", held=False, words="it was done")


def test_findings_are_shown_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Without anything that could steer the terminal."""
    node_sandbox._show_findings([HELD], as_json=False)
    shown = capsys.readouterr().out
    assert shown == "holds  ask DNS: no [31mway\n"


@pytest.mark.parametrize("as_json", [False, True])
def test_one_that_is_open_fails_the_command(
    capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    """After everything was shown."""
    with pytest.raises(Failed, match="does not hold"):
        node_sandbox._show_findings([HELD, OPEN], as_json=as_json)
    shown = capsys.readouterr().out
    if as_json:
        assert [each["held"] for each in json.loads(shown)] == [True, False]
    else:
        assert "OPEN   mount: it was done" in shown


def test_there_is_nothing_to_show_without_a_node(tmp_path: Path) -> None:
    """The folder has to have one."""
    shown = CliRunner().invoke(node.app, ["sandbox", "--data-dir", str(tmp_path)])
    assert isinstance(shown.exception, NodeFailed)
    assert shown.exception.exit_code == errors.NotEnrolled.exit_code
