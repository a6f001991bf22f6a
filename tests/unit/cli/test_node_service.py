"""`gai node service`: what its unit starts."""

import sys
from pathlib import Path

import pytest
import typer

from garage_ai.cli.node_service import _argv, wants_service
from garage_ai.node.folder import NodeFolder
from garage_ai.node.service.user_manager import NodeService
from garage_ai.node.update.plan import State
from garage_ai.node.update.versions import Versions


def test_a_service_starts_what_was_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the updated version that makes the unit: a later update removes that one."""
    folder = NodeFolder(tmp_path / "node")
    plain = _argv(folder)
    assert plain[-4:] == ("node", "run", "--data-dir", str(folder.path))
    assert Path(plain[0]).parent == Path(sys.executable).parent
    installed = tmp_path / "venv/bin/python"
    (installed.parent).mkdir(parents=True)
    (installed.parent / "gai").touch()
    Versions(folder.path).save(State("0.2.0", installed=str(installed)))
    monkeypatch.setattr(sys, "prefix", str(folder.path / "versions/0.2.0"))
    assert _argv(folder)[0] == str(installed.parent / "gai")


def test_ctrl_c_at_the_question_stops_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told as everywhere else: cut short, and the same command goes on."""

    def cut_short(*_: object, **__: object) -> bool:
        raise typer.Abort

    monkeypatch.setattr(NodeService, "absence", lambda _: None)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(typer, "confirm", cut_short)
    with pytest.raises(KeyboardInterrupt):
        wants_service(NodeFolder(tmp_path / "node"), None)
