"""The short form of every measurement: it runs, its figures are sane, no request fails."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench.processes import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def run_short(module: str, folder: Path, *arguments: str, seconds: int = 200) -> Any:
    """Run a measurement as a person would and return what it wrote."""
    result = folder / f"{module}.json"
    command = [sys.executable, "-m", f"bench.{module}", "--short", "--json", str(result)]
    done = subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
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
    assert len(report["pairs"]) >= 5
    assert all(pair["direct_ms"] > 0 and pair["garage_ms"] > 0 for pair in report["pairs"])
    assert {(cell["way"], cell["clients"]) for cell in report["cells"]} == {
        (way, clients) for way in ("direct", "garage") for clients in (1, 4, 8)
    }
    assert all(cell["tokens_per_second"] > 0 for cell in report["cells"])
    assert not any(segment["errors"] for segment in report["segments"])


def test_counting(tmp_path: Path) -> None:
    """Requests are counted by the tokenizer, and both processes' times are told."""
    report = run_short("counting", tmp_path)
    assert 400 < report["prompt_tokens"] < 600
    assert 200 < report["completion_tokens"] < 400
    assert 0 < report["loop_us"] < report["counting_us"]


def test_fleet(tmp_path: Path) -> None:
    """Every simulated node is ready in the gateway's eyes, and its beats cost something."""
    report = run_short("fleet", tmp_path)
    assert report["ready"] == report["nodes"]
    assert report["beats_per_second"] > report["nodes"] / 5 * 0.5
    assert 0 < report["beating"]["gateway"] < 2
    assert len(report["choices"]) == 3


def test_lines(tmp_path: Path) -> None:
    """A file goes through all its steps, and the gateway stays within its memory meanwhile."""
    report = run_short("lines", tmp_path)
    assert len(report["steps"]) == 5
    assert all(verdict["value"] <= verdict["bound"] for verdict in report["verdicts"])


def test_join(tmp_path: Path) -> None:
    """Every volunteer serves after `join`, and again after `run`."""
    report = run_short("join", tmp_path)
    assert report["sandbox"] == "none"
    assert len(report["starts"]) == 2
    assert all(start["join"] > 0 and start["run"] > 0 for start in report["starts"])


def test_guard(tmp_path: Path) -> None:
    """Every game ends the engine, and every end of a game brings an answer."""
    report = run_short("guard", tmp_path)
    assert len(report["runs"]) == 3
    for run in report["runs"]:
        assert run["freed"] > 0
        assert run["stream_ended"] > 0
        assert run["back"] > report["resume_after"]
        assert run["resident"] > 50e6


def test_moves(tmp_path: Path) -> None:
    """No stream fails while nodes are killed and taken back under it, and gaps are told apart."""
    report = run_short("moves", tmp_path)
    assert report["failed"] == 0
    assert {"node_lost", "planned", "all"} <= report["gaps"].keys()
    assert report["gaps"]["all"]["moves"] >= 30
    assert 0 < report["gaps"]["all"]["p50"] <= report["gaps"]["all"]["worst"]
    assert report["heard"]["moves"] > 0


def test_moves_of_the_real_model(tmp_path: Path) -> None:
    """No stream of llama.cpp fails either, wherever in its middle the node is hurt."""
    report = run_short("moves", tmp_path, "--engine", "llamacpp")
    assert report["failed"] == 0
    assert report["gaps"]["all"]["moves"] >= 4


@pytest.mark.parametrize("engine", ["mock", "llamacpp"])
def test_mixed(tmp_path: Path, engine: str) -> None:
    """Chats are served beside a batch that gives way to them, and no item of it fails."""
    report = run_short("mixed", tmp_path, "--engine", engine)
    assert report["idle"]["chats"] == report["mixed"]["chats"] > 0
    assert report["preempted"] > 0
    assert report["batch_alone"] > 0
    assert report["failed"] == 0


@pytest.mark.parametrize("engine", ["mock", "llamacpp"])
def test_batch(tmp_path: Path, engine: str) -> None:
    """Every item is answered, and both ways make something."""
    report = run_short("batch", tmp_path, "--engine", engine)
    assert report["errors"] == []
    for way in ("direct", "batch"):
        assert all(rates["items"] > 0 and rates["tokens"] > 0 for rates in report[way])


def test_idle(tmp_path: Path) -> None:
    """Both agents take something, and neither much."""
    report = run_short("idle", tmp_path)
    assert [agent["guard"] for agent in report["agents"]] == ["as it comes", "every limit"]
    for agent in report["agents"]:
        assert 0 < agent["cpu"] < 0.5
        assert 20e6 < agent["rss"] < 200e6


def test_soak(tmp_path: Path) -> None:
    """No request fails, clients that leave are noticed, and nothing is left running."""
    report = run_short("soak", tmp_path)
    assert report["errors"] == 0
    assert report["served"] > 1000
    assert report["engine_cancelled"] > 0
    assert report["engine_running"] == 0
    first, last = report["readings"][0]["processes"], report["readings"][-1]["processes"]
    assert first.keys() == last.keys() == {"gateway", "agent", "nats-server"}


def test_economy(tmp_path: Path) -> None:
    """Two months of three hundred members: every promise is kept."""
    report = run_short("economy", tmp_path)
    assert report["served"] > 0
    assert all(verdict["value"] <= verdict["bound"] for verdict in report["verdicts"][:5])


@pytest.mark.timeout(340)
def test_books(tmp_path: Path) -> None:
    """The books hold whatever is killed under them, and what was lost is told."""
    report = run_short("books", tmp_path, seconds=300)
    assert all(rate["pairs"] > 0 for rate in report["rates"])
    for run in report["faults"]:
        assert run["gateways_killed"] > 0
        assert run["databases_killed"] > 0 or run["database"] == "sqlite"
        assert (run["verify_faults"], run["findings"]) == (0, [])
        checked = run["checked"]
        wrong = ("sum_of_all", "overdrawn", "wrong_balances", "lost_commits", "doubled")
        more = ("wrong_amounts", "entries_of_nobody", "use_without_its_bill", "left_leased")
        names = (*wrong, *more, "above_the_bound")
        assert {name: checked[name] for name in names if checked[name]} == {}
        assert sum(checked["ends"].values()) == run["orders"]


@pytest.mark.timeout(340)
def test_batch_faults(tmp_path: Path) -> None:
    """Every request of a batch has one line, one record and one bill, whatever is killed."""
    report = run_short("batch_faults", tmp_path, seconds=300)
    killed = ["gateways_killed", "nodes_killed", "nats_killed"]
    if report["database"] == "postgresql":
        killed.append("databases_killed")
    assert [name for name in killed if not report[name]] == []
    assert all(verdict["value"] <= verdict["bound"] for verdict in report["verdicts"])
    checked = report["checked"]
    assert checked["answered"] + checked["failed"] == report["items"]
    assert checked["charged"] > 0


@pytest.mark.timeout(640)
def test_litellm(tmp_path: Path) -> None:
    """Both sides have every call, once and alike, whichever of them is killed in the middle."""
    # LiteLLM starts twice, and before that its environment is made where there is none yet.
    report = run_short("litellm", tmp_path, seconds=600)
    assert [(each["side"], each["how"]) for each in report["faults"]] == [
        ("proxy", "killed"),
        ("gateway", "restarted"),
        ("gateway", "killed"),
    ]
    assert report["ends"]["whole"] >= report["calls"] / 2
    assert all(verdict["value"] == 0 for verdict in report["verdicts"])
    compared = sum(report["reconciled"].values())
    assert report["calls"] - report["unnamed"] <= compared <= report["calls"]
