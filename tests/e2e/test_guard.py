"""The owner of a PC says with `gai node` what comes before the network."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.parts.product import REAL, Product
from tests.parts.program import GAI, Program
from tests.parts.waiting import eventually

from garage_ai.node.folder import NodeFolder
from garage_ai.node.pauses import Pause
from garage_ai.wire.secret_files import make_private_folder

pytestmark = pytest.mark.slow

GAME = "e2e-guard-game"


@pytest.fixture(scope="module")
def pc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A network whose only node is this PC."""
    product = Product(tmp_path_factory.mktemp("guarded"))
    product.start()
    yield product
    assert product.stop() == 0


def node(pc: Product, *argv: str, language: str = "C") -> "subprocess.CompletedProcess[str]":
    """Type a command of `gai node` on the PC."""
    return subprocess.run(
        [GAI, "node", *argv, "--data-dir", pc.data / "local-node"],
        env={**pc.environment, "LC_ALL": language},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def guard(pc: Product) -> dict[str, object]:
    """Ask the agent what its guard says."""
    asked = node(pc, "status", "--json")
    assert asked.returncode == 0, asked.stderr
    said: dict[str, object] = json.loads(asked.stdout)["guard"]
    return said


def answers(pc: Product) -> None:
    """Wait until the network answers again."""
    eventually("an answer", lambda: pc.http.chat(REAL, max_tokens=1).status == 200, 60)


def test_a_networks_own_node_serves_on_battery_too(pc: Product) -> None:
    """Whoever has just started a network wants it to serve."""
    shown = json.loads(node(pc, "limits", "--json").stdout)
    assert (shown["on_battery"], shown["on_metered"]) == (True, True)


def test_a_game_comes_first(pc: Product, tmp_path: Path) -> None:
    """Named while the agent runs; the engine is gone while it runs, and back after it."""
    made = node(pc, "limits", "--pause-on", GAME, "--resume-after", "1s", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["pause_on"] == [GAME]
    answers(pc)
    engine = pc.pid("engine")
    assert engine is not None
    game = tmp_path / GAME
    game.symlink_to(sys.executable)
    child = subprocess.Popen([game, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        eventually("the end of the engine", lambda: not psutil.pid_exists(engine))
        said = guard(pc)
        assert (said["action"], said["signal"]) == ("release", "game")
        told = node(pc, "status", language="sv_SE.UTF-8").stdout
        assert f"den arbetar inte sedan {time.strftime('%Y-')}" in told
        assert f"{GAME} körs" in told
    finally:
        child.communicate(b"\n", timeout=60)
    answers(pc)
    assert "it serves: nothing that is watched speaks against it" in node(pc, "status").stdout


def test_a_pause_ends_by_itself_over_a_restart(pc: Product) -> None:
    """It holds for the next agent too, and is over when its time is."""
    answers(pc)
    began = time.time()
    paused = node(pc, "pause", "--for", "8s", "--now")
    assert paused.returncode == 0, paused.stderr
    assert "paused by its owner until" in paused.stdout
    pc.kill("agent")
    eventually("the next agent", lambda: node(pc, "status").returncode == 0, 30)
    answers(pc)
    assert time.time() - began >= 8.0


def test_resume_ends_a_pause(pc: Product) -> None:
    """Paused without an end, and taken back."""
    answers(pc)
    assert node(pc, "pause").returncode == 0
    eventually("the pause", lambda: guard(pc)["action"] == "release")
    assert node(pc, "resume").returncode == 0
    assert guard(pc)["action"] == "serve"
    answers(pc)


def test_a_network_starts_while_its_owner_comes_first(tmp_path: Path) -> None:
    """That is no failure: it says why nothing answers yet, and is ready when the owner is done."""
    pc = Product(tmp_path)
    make_private_folder(pc.data)
    folder = NodeFolder(pc.data / "local-node")
    make_private_folder(folder.path)
    folder.pause = Pause()
    ports = ["--port", str(pc.port), "--nats-port", str(pc.nats_port)]
    argv: list[str | Path] = [GAI, "up", *ports, "--data-dir", pc.data]
    up = Program("gai-up", argv, tmp_path, pc.environment)
    try:
        told = eventually("a word of it", lambda: up.line("The node of this PC stands back"), 60)
        assert "(paused by its owner)" in told
        assert pc.http.get("/v1/models").json()["data"] == []
        assert "ready" not in up.output()
        assert node(pc, "resume").returncode == 0
        eventually("the line `ready`", lambda: up.line("ready garage-chat"), 60)
        assert up.output().count("stands back") == 1
        assert up.stop() == 0
    finally:
        up.end_all()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--schedule", "whenever"], "are not hours"),
        (["--max-price", "1.50"], "A price needs an area"),
        (["--max-upload", "many"], "is not an amount of data"),
        (["--max-cpu", "500"], "no possible limit"),
    ],
)
def test_a_mistake_is_said_and_nothing_changes(argv: list[str], said: str, pc: Product) -> None:
    """In one sentence, with exit code 2."""
    before = node(pc, "limits", "--json").stdout
    made = node(pc, "limits", *argv)
    assert (made.returncode, made.stdout) == (2, "")
    assert said in made.stderr
    assert node(pc, "limits", "--json").stdout == before


def test_a_limit_is_taken_away_with_off(pc: Product) -> None:
    """What was set goes back to what it was before anybody said anything."""
    set_to = node(pc, "limits", "--max-upload", "50GB", "--max-temperature", "85")
    assert "50.0 GB" in set_to.stdout
    assert "85 °C" in set_to.stdout
    gone = node(pc, "limits", "--max-upload", "off", "--max-temperature", "off", "--json")
    shown = json.loads(gone.stdout)
    assert (shown["max_upload"], shown["max_temperature"]) == (None, None)
