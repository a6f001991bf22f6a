"""The short form of every measurement: it runs, its figures are sane, no request fails."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench.processes import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def run_short(module: str, folder: Path, *arguments: str) -> Any:
    """Run a measurement as a person would and return what it wrote."""
    result = folder / f"{module}.json"
    command = [sys.executable, "-m", f"bench.{module}", "--short", "--json", str(result)]
    done = subprocess.run(
        [*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    written = json.loads(result.read_text())
    for verdict in written["verdicts"]:
        assert verdict["name"] in done.stdout.replace("\n", " ")
    return written


def test_overhead(tmp_path: Path) -> None:
    """Every contender answers in every cell, and all processes of the network are seen."""
    report = run_short("overhead", tmp_path)
    assert {"direct", "garage"} <= {cell["contender"] for cell in report["cells"]}
    for cell in report["cells"]:
        assert cell["errors"] == 0
        assert cell["requests"] > 0
        assert 0 < cell["first_p50_ms"] <= cell["p50_ms"] <= cell["p99_ms"]
    assert {"gateway", "nats-server", "agent"} <= report["memory_bytes"]["garage"].keys()


def test_real(tmp_path: Path) -> None:
    """The real model answers both ways, for one client and for eight."""
    report = run_short("real", tmp_path)
    assert len(report["pairs"]) >= 10
    assert all(pair["direct_ms"] > 0 and pair["garage_ms"] > 0 for pair in report["pairs"])
    assert {(cell["way"], cell["clients"]) for cell in report["cells"]} == {
        (way, clients) for way in ("direct", "garage") for clients in (1, 4, 8)
    }
    assert all(cell["tokens_per_second"] > 0 for cell in report["cells"])
    assert not any(segment["errors"] for segment in report["segments"])


def test_fleet(tmp_path: Path) -> None:
    """Every simulated node is ready in the gateway's eyes, and its beats cost something."""
    report = run_short("fleet", tmp_path)
    assert report["ready"] == report["nodes"]
    assert report["beats_per_second"] > report["nodes"] / 5 * 0.5
    assert 0 < report["beating"]["gateway"] < 2
    assert len(report["choices"]) == 3


def test_guard(tmp_path: Path) -> None:
    """Every game ends the engine, and every end of a game brings an answer."""
    report = run_short("guard", tmp_path)
    assert len(report["runs"]) == 5
    for run in report["runs"]:
        assert run["freed"] > 0
        assert run["stream_ended"] > 0
        assert run["back"] > report["resume_after"]
        assert run["resident"] > 50e6


def test_moves(tmp_path: Path) -> None:
    """No stream fails while nodes are killed and taken back under it, and gaps are told apart."""
    report = run_short("moves", tmp_path)
    assert report["failed"] == 0
    assert report["gaps"].keys() == {"node_lost", "yielded", "all"}
    assert report["gaps"]["all"]["moves"] >= 30
    assert 0 < report["gaps"]["all"]["p50"] <= report["gaps"]["all"]["worst"]
    assert report["heard"]["moves"] > 0


def test_soak(tmp_path: Path) -> None:
    """No request fails, clients that leave are noticed, and nothing is left running."""
    report = run_short("soak", tmp_path)
    assert report["errors"] == 0
    assert report["served"] > 1000
    assert report["engine_cancelled"] > 0
    assert report["engine_running"] == 0
    first, last = report["readings"][0]["processes"], report["readings"][-1]["processes"]
    assert first.keys() == last.keys() == {"gateway", "agent", "nats-server"}
