"""`gai node leave`, where the agent does not let go."""

from pathlib import Path

import pytest
from tests.unit.cli.test_node import STATUS
from typer.testing import CliRunner

from garage_ai.cli import node, node_leave
from garage_ai.node import control
from garage_ai.node.errors import GatewayAway
from garage_ai.node.folder import NodeFolder
from garage_ai.node.gateway_client import GatewayRefused
from garage_ai.node.leaving import Left
from garage_ai.node.service.user_manager import NodeService
from garage_ai.node.status import Status


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """See what is done with a service that runs."""
    seen = []

    async def stop(_: NodeService) -> bool:
        seen.append("stop")
        return True

    async def start(_: NodeService) -> None:
        seen.append("start")

    monkeypatch.setattr(NodeService, "stop", stop)
    monkeypatch.setattr(NodeService, "start", start)
    return seen


def test_a_service_that_was_stopped_runs_again_when_nothing_came_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    """An agent that does not end keeps the node in its network, so it serves there on."""
    monkeypatch.setattr(control, "ask_agent", lambda *_, **__: STATUS)
    monkeypatch.setattr(node_leave, "STOP_SECONDS", -1.0)
    done = CliRunner().invoke(node.app, ["leave", "--data-dir", str(tmp_path / "node")])
    assert done.exit_code == 1
    assert told == ["stop", "start"]


@pytest.mark.parametrize("cut", [KeyboardInterrupt, PermissionError])
def test_a_service_runs_again_whatever_cut_the_leaving_short(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: list[str],
    cut: type[BaseException],
) -> None:
    """Ctrl-C while the network is asked, a folder of root's: the node was stopped for nothing."""

    def ask(*_: object, **__: object) -> Status:
        raise cut

    monkeypatch.setattr(control, "ask_agent", ask)
    with pytest.raises(cut):
        node_leave.leave(data_dir=tmp_path / "node")
    assert told == ["stop", "start"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (GatewayAway("away"), True),
        (GatewayRefused("another CA", reason="tls"), True),
        (GatewayRefused("no", status=403, reason="proof_refused"), False),
        (None, False),
    ],
)
def test_who_cannot_tell_the_network_is_told_of_force(
    error: Exception | None, expected: bool
) -> None:
    """Away, or with a CA that is not the node's: either way it hears nothing."""
    assert node_leave._was_not_reached(error) == expected


def test_what_an_administrator_is_asked_to_type_is_a_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the network was not told somebody there has to remove the node."""
    left = Left("n1", "https://gai.example", "not_told")
    node_leave._show(left, NodeFolder(tmp_path))
    assert "    gai node remove n1\n" in capsys.readouterr().err
