"""`gai node`: its words, its options, what it shows."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from garage_ai.cli import node, node_words
from garage_ai.cli.node_run import NodeFailed
from garage_ai.cli.node_screen import NodeScreen
from garage_ai.node import errors
from garage_ai.node.events import Begun, Done, Exposed, Link, Missing, State, Stopping
from garage_ai.node.folder import Choice
from garage_ai.node.preflight.models import Finding
from garage_ai.node.status import (
    EngineStatus,
    LinkStatus,
    ModelStatus,
    NoticeStatus,
    Status,
    TotalsStatus,
)

COMMANDS = [
    "token",
    "admit",
    "join",
    "run",
    "status",
    "pause",
    "resume",
    "limits",
    "drain",
    "rotate",
    "doctor",
    "bench",
    "sandbox",
    "image",
    "leave",
]
STATUS = Status(
    node="nabc",
    name="rig",
    region=None,
    gateway="http://g",
    pid=7,
    session="s",
    state="ready",
    reason="",
    running=1,
    slots=8,
    engine=EngineStatus("llamacpp", "ready", "", sandbox="podman"),
    models=(ModelStatus("small", "sha256:" + "a" * 64, "chat", 4096, 8, 1),),
    totals=TotalsStatus(4, 3, 1, 0, 2),
    link=LinkStatus("connected", "nats://h", None),
    notices=(NoticeStatus("clock_wrong", "your \x1b[31mclock", 0.0),),
    started_at=0.0,
    jwt_ends_at=None,
    agent="0.1",
    wire_versions=(1,),
)


def failures(root: type[errors.NodeError] = errors.NodeError) -> list[type[errors.NodeError]]:
    found = [each for each in root.__subclasses__() if each.__module__ == errors.__name__]
    return found + [deeper for each in found for deeper in failures(each)]


def test_the_commands_are_these() -> None:
    """No command is there that does nothing yet."""
    names = [each.name or each.callback.__name__ for each in node.app.registered_commands]  # type: ignore[union-attr]
    assert names == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    """Each says what it does and where its folder is."""
    shown = CliRunner().invoke(node.app, [command, "--help"])
    assert shown.exit_code == 0
    assert "--data-dir" in shown.output


def test_every_word_is_said_in_both_languages() -> None:
    """The same places are filled in both; English says in the error itself what to do next."""
    places = re.compile(r"{(\w+)")
    for key, (english, swedish) in node_words._WORDS.items():
        assert swedish, key
        if key.startswith("next."):
            continue
        assert english, key
        assert sorted(places.findall(english)) == sorted(places.findall(swedish)), key


def test_every_failure_has_a_status_of_its_own() -> None:
    """A script can tell them apart; none looks like success."""
    leaves = [each for each in failures() if not issubclass(each, errors.EngineError)]
    assert len({each.exit_code for each in leaves}) == len(leaves)
    for each in leaves:
        failed = NodeFailed(each("what went wrong"))
        assert failed.exit_code not in (0, 1, 130)
        assert failed.message == "what went wrong"


def test_what_is_not_said_stays() -> None:
    """Options replace what was chosen before; another engine begins anew."""
    before = Choice(engine="external", engine_url="http://h", models=("a",), slots=3)
    names = ("engine", "engine_url", "model", "context", "threads", "sandbox")
    nothing = dict.fromkeys(names)
    assert node._choice(before, slots=None, **nothing) == before
    changed = node._choice(before, slots=5, **nothing)
    assert (changed.slots, changed.models) == (5, ("a",))
    bare = node._choice(before, slots=None, **(nothing | {"sandbox": "none"}))
    assert (bare.sandbox, bare.slots) == ("none", 3)
    anew = node._choice(before, slots=None, **(nothing | {"engine": "llamacpp"}))
    assert anew == Choice(engine="llamacpp")


def test_shows_a_status(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each thing, without anything that could steer the terminal."""
    node._show(STATUS, as_json=False)
    shown = capsys.readouterr().out
    assert "ready" in shown
    assert "1/8" in shown
    assert "podman, limits not enforced" in shown
    assert "small sha256:aaaa" in shown
    assert "\x1b" not in shown


def test_what_a_pc_lacks_is_told_with_its_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    """`gai node join` says what is missing and what to type."""
    NodeScreen().tell(Missing((Finding("container", "fail", "none"),)))
    shown = capsys.readouterr().out
    assert "Podman" in shown
    assert "sudo apt install podman" in shown


def test_tells_its_story_in_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Off a terminal each event is one line; results to stdout, trouble to stderr."""
    screen = NodeScreen()
    screen.tell(Begun("model", "small"))
    screen.tell(Done("model", "small"))
    screen.tell(Link("nats://h"))
    screen.tell(State("ready", "", ("small",)))
    screen.tell(Link("", "gone"))
    screen.tell(State("ready", "died", ("small",)))
    screen.tell(Exposed("unsandboxed"))
    screen.tell(Stopping(2, 30.0))
    screen.end()
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "  ok model: small",
        "  ok connected to nats://h",
        "serving small; Ctrl-C stops",
        "finishing 2 requests, 30 s at most; Ctrl-C again stops at once",
    ]
    assert "gone" in shown.err
    assert "died" in shown.err
    assert "WITHOUT A SANDBOX" in shown.err


def test_a_pause_without_an_agent_needs_a_node(tmp_path: Path) -> None:
    """A folder without a node is not paused."""
    shown = CliRunner().invoke(node.app, ["pause", "--data-dir", str(tmp_path)])
    assert isinstance(shown.exception, NodeFailed)
    assert shown.exception.exit_code == errors.NotEnrolled.exit_code
