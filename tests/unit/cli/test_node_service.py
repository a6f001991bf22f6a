"""`gai node service`: what its unit starts."""

import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from garage_ai.cli import node_service
from garage_ai.cli.node_service import _argv, serve_in_background, wants_service
from garage_ai.node.folder import NodeFolder
from garage_ai.node.service.user_manager import NodeService, ServiceState
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


def test_a_service_whose_agent_answers_nobody_yet_has_been_made_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It asks vLLM for its cards, or reads a large model: that is told, and is no failure."""

    async def install(*_: object, **__: object) -> None:
        return

    async def state(_: NodeService) -> ServiceState:
        return ServiceState("gai.service", "/gai.service", installed=True, state="active", pid=7)

    monkeypatch.setattr(NodeService, "install", install)
    monkeypatch.setattr(NodeService, "state", state)
    monkeypatch.setattr(node_service, "READY_SECONDS", 0.0)
    serve_in_background(NodeFolder(tmp_path / "node"))
    told = capsys.readouterr()
    assert "it runs in the background, pid 7" in told.out
    assert "goes on by itself: its engine is being made ready" in told.err


def test_inside_wsl_a_service_ends_with_the_last_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows counts nothing that systemd has started; its owner hears how the node goes on."""

    async def state(_: NodeService) -> ServiceState:
        return ServiceState("u", "/u", installed=True, state="active", linger=True, wsl=wsl)

    monkeypatch.setattr(NodeService, "state", state)
    for wsl in (False, True):
        done = CliRunner().invoke(node_service.app, ["status", "--data-dir", str(tmp_path)])
        assert done.exit_code == 0
        assert ("wsl --exec sleep infinity" in done.output) == wsl
