"""`gai group leave` beside an agent that runs, and without one."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from garage_ai.cli import group as commands
from garage_ai.cli.group_words import say
from garage_ai.node.folder import NodeFolder
from garage_ai.node.group import setup
from garage_ai.node.group.folder import HostPort, create, group_of, join


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Whose networks were taken down."""
    found: list[Path] = []

    def take_down(folder: NodeFolder) -> bool:
        found.append(folder.path)
        return True

    monkeypatch.setattr(setup, "take_down_tunnel", take_down)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> NodeFolder:
    """Of a node in a group."""
    made = NodeFolder(tmp_path)
    join(made, create("garage"), HostPort("192.168.1.20", 4244), ())
    return made


def left(folder: NodeFolder) -> str:
    """Leave, and give what is said."""
    done = CliRunner().invoke(commands.app, ["leave", "--data-dir", str(folder.path)])
    assert done.exit_code == 0, done.output
    assert group_of(folder) is None
    return done.output


def test_an_agent_that_runs_keeps_its_network(folder: NodeFolder, taken: list[Path]) -> None:
    """Its owner hears from when on it is out, and what is left to do; then that does it."""
    with folder.lock():
        said = left(folder)
    assert say("left.runs") in said.replace("\n", " ")
    assert "gai group leave --data-dir" in said.replace("\n", " ")
    assert taken == []
    assert not folder.held
    assert say("left") in left(folder)
    assert taken == [folder.path]


def test_an_agent_that_is_in_no_group_is_no_hindrance(
    folder: NodeFolder, taken: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has started anew since, and the network is nobody's."""
    status = type("Status", (), {"group": None})()
    monkeypatch.setattr("garage_ai.node.control.ask_agent", lambda *_: status)
    with folder.lock():
        assert say("left") in left(folder)
    assert taken == [folder.path]
