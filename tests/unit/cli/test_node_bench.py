"""`gai node bench`: what is shown of a measurement."""

from pathlib import Path

import pytest
from tests.unit.wire.test_benchmarks import BENCHMARK
from typer.testing import CliRunner

from garage_ai.cli import node, node_bench
from garage_ai.node.bench.drift import Drift
from garage_ai.node.bench.service import Outcome


def test_shows_a_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each number of streams, how long it took to load, and what has changed."""
    node_bench._show(Outcome(BENCHMARK, (Drift("decode", 4, 100.0, 80.5, -0.195),), (), ""))
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].split() == ["4", "80.5", "900", "0.20", "s", "0.40", "s", "0"]
    assert any("2.5 s" in line for line in shown)
    assert any("12.0 ms" in line for line in shown)
    assert any("-20%" in line and "100" in line for line in shown)


def test_a_folder_without_a_node_has_nothing_to_measure(tmp_path: Path) -> None:
    """The exit status says why."""
    done = CliRunner().invoke(node.app, ["bench", "--data-dir", str(tmp_path / "n")])
    assert done.exit_code != 0
    assert getattr(done.exception, "code", "") == "not_enrolled"


def test_off_a_terminal_a_level_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A log is not filled with a moving bar."""
    bar = node_bench._Bar()
    for streams, share in ((1, 0.3), (1, 1.0), (4, 0.5), (4, 1.0)):
        bar.tell(streams, share)
    bar.end()
    assert len(capsys.readouterr().err.splitlines()) == 2
