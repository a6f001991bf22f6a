"""`gai node`: its words, its options, what it shows."""

import re
import sys
from pathlib import Path
from typing import get_args

import pytest
import structlog
from msgspec.structs import replace
from structlog.testing import capture_logs
from typer.testing import CliRunner

from garage_ai.cli import image_words, member_words, node, node_words, price_words, update_words
from garage_ai.cli.node_choice import Said, choose
from garage_ai.cli.node_run import NodeFailed, configure_logs
from garage_ai.cli.node_screen import NodeScreen
from garage_ai.cli.node_status import lines
from garage_ai.node import errors
from garage_ai.node.bench.drift import Change, Drift, Trend
from garage_ai.node.engines.port import Device
from garage_ai.node.events import (
    Begun,
    Computes,
    Done,
    Exposed,
    Link,
    Missing,
    State,
    Step,
    Stopping,
    Unlisted,
)
from garage_ai.node.folder import Choice, NodeFolder, Record
from garage_ai.node.pauses import Pause
from garage_ai.node.preflight.models import Finding
from garage_ai.node.status import (
    EngineStatus,
    LinkStatus,
    ModelStatus,
    NoticeStatus,
    Status,
    TotalsStatus,
)
from garage_ai.wire.ids import NodeId
from garage_ai.wire.messages import REFUSED, AgentState, EngineImage

COMMANDS = [
    "token",
    "list",
    "admit",
    "remove",
    "names",
    "approve",
    "forfeit",
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
    "update",
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
    """The same places are filled in both."""
    places = re.compile(r"{(\w+)")
    for key, (english, swedish) in node_words._WORDS.items():
        assert swedish, key
        assert english, key
        assert sorted(places.findall(english)) == sorted(places.findall(swedish)), key


def test_every_step_is_told_at_its_beginning_and_its_end() -> None:
    """A step without words would break what it only reports on."""
    for step in get_args(Step):
        assert node_words.has(f"step.{step}"), step
        assert "{detail}" in node_words._WORDS[f"done.{step}"][0] or step == "preflight", step


def test_other_words_are_said_in_both_languages() -> None:
    """The same places are filled in both."""
    places = re.compile(r"{(\w+)")
    for key, (english, swedish) in (
        image_words._WORDS | update_words._WORDS | member_words._WORDS | price_words._WORDS
    ).items():
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


def test_who_resumes_without_an_agent_is_told_when_it_holds(tmp_path: Path) -> None:
    """The pause is over for the next start, which is said and not done in silence."""
    folder = NodeFolder(tmp_path / "node")
    folder.prepare()
    folder.save(Record(node=NodeId("n1"), member="m", name="rig", gateway="http://g", urls=()))
    folder.pause = Pause()
    done = CliRunner().invoke(node.app, ["resume", "--data-dir", str(folder.path)])
    assert done.exit_code == 0, done.output
    assert "gai node run" in done.output
    assert folder.pause is None


def test_what_is_not_said_stays() -> None:
    """Options replace what was chosen before; another engine begins anew."""
    before = Choice(engine="external", engine_url="http://h", models=("a",), slots=3)
    assert choose(before, Said()) == before
    changed = choose(before, Said(slots=5))
    assert (changed.slots, changed.models) == (5, ("a",))
    bare = choose(before, Said(sandbox="none"))
    assert (bare.sandbox, bare.slots) == ("none", 3)
    assert choose(before, Said(engine="llamacpp")) == Choice(engine="llamacpp")


def test_a_path_holds_wherever_the_node_is_run_from_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is kept as an absolute one."""
    monkeypatch.chdir(tmp_path)
    kept = choose(Choice(), Said(chat_template=Path("my.jinja"), models=["a", "b"]))
    assert kept.chat_template == str(tmp_path / "my.jinja")
    assert kept.models == ("a", "b")


def test_there_is_an_option_for_all_that_is_chosen() -> None:
    """What the record keeps can be said, and what is said is kept; who has said it is noted."""
    assert Said.__annotations__.keys() == set(Choice.__struct_fields__) - {"picked"}
    picked = Choice(models=("best",), picked=True)
    assert choose(picked, Said(slots=2)).picked
    assert not choose(picked, Said(models=["best"])).picked


def test_shows_a_status(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each thing, without anything that could steer the terminal."""
    node._show(STATUS, as_json=False)
    shown = capsys.readouterr().out
    assert "ready" in shown
    assert "1/8" in shown
    assert "podman, limits not enforced" in shown
    assert "small sha256:aaaa" in shown
    assert "\x1b" not in shown


def test_shows_what_the_container_is_made_from(capsys: pytest.CaptureFixture[str]) -> None:
    """Digests whole, so that they can be compared with an administrator's list."""
    image = EngineImage("sha256:" + "1" * 64, "sha256:" + "2" * 64, "debian@sha256:" + "3" * 64)
    engine = EngineStatus("llamacpp", "ready", "", sandbox="podman", limits=True, image=image)
    node._show(replace(STATUS, engine=engine), as_json=False)
    shown = capsys.readouterr().out
    for digest in (image.digest, image.content, image.base, STATUS.models[0].digest):
        assert str(digest) in shown


def test_what_has_become_slower_is_shown_with_the_state() -> None:
    """What a measurement found by itself, and what else is not as it was."""
    drift = (Drift("decode", 4, 300.0, 200.0, -0.333),)
    trend = Trend(drift, (Change("driver", "570", "580"),))
    text = "\n".join(lines(replace(STATUS, trend=trend)))
    assert "-33% tokens/s at 4 streams against the last runs: 300 then, 200 now" in text
    assert "since then the driver: 570 → 580" in text


def test_says_why_the_network_gives_no_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the owner's language and with the command; until the network says that it does again."""
    told = (NoticeStatus("agent_too_old", "too old", 1.0), NoticeStatus("clock_wrong", "", 2.0))
    node._show(replace(STATUS, notices=told), as_json=False)
    assert "gives it no work: this agent is too old. Update it: gai node update" in (
        capsys.readouterr().out
    )
    monkeypatch.setattr("garage_ai.cli.node_words.language", lambda: "sv")
    node._show(replace(STATUS, notices=told), as_json=False)
    assert "agenten är för gammal. Uppdatera den: gai node update" in capsys.readouterr().out
    again = (*told, NoticeStatus("admitted", "", 3.0))
    node._show(replace(STATUS, notices=again), as_json=False)
    assert "den arbetar" in capsys.readouterr().out


def test_every_refusal_has_its_words() -> None:
    """Whatever code the network may send, the owner reads a sentence."""
    for code in REFUSED:
        assert node_words.has(f"refused.{code}")


def test_what_a_pc_lacks_is_told_with_its_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    """`gai node join` says what is missing and what to type."""
    NodeScreen().tell(Missing((Finding("container", "fail", "none"),)))
    shown = capsys.readouterr().out
    assert "Podman" in shown
    assert "sudo apt install podman" in shown


def test_says_that_the_list_of_models_could_not_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    """With what is served meanwhile, and what would change it."""
    NodeScreen().tell(Unlisted("small"))
    shown = capsys.readouterr().err
    assert "could not be read; small is served" in shown
    assert "--model" in shown


def test_tells_its_story_in_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Off a terminal each event is one line; results to stdout, trouble to stderr."""
    screen = NodeScreen()
    screen.tell(Begun("model", "small"))
    screen.tell(Done("model", "small"))
    screen.tell(Computes(Device()))
    screen.tell(Computes(Device(("GPU-1",), 20, 33, 4.0)))
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
        "  ok computes on the processor",
        "  ok computes on GPU-1, 20 of 33 layers, the rest on the processor: 4 times slower",
        "  ok connected to nats://h",
        "serving small; Ctrl-C stops",
        "finishing 2 requests, 30 s at most; Ctrl-C again stops at once",
    ]
    assert "gone" in shown.err
    assert "died" in shown.err
    assert "WITHOUT A SANDBOX" in shown.err


@pytest.mark.parametrize("state", [each for each in get_args(AgentState) if each != "gone"])
def test_every_state_of_an_agent_can_be_shown(state: AgentState) -> None:
    """One that a gateway brings about must not end an agent whose screen has no word for it."""
    for reason in ("", "the engine is starting"):
        NodeScreen().tell(State(state, reason, ("small",)))


def test_a_pause_without_an_agent_needs_a_node(tmp_path: Path) -> None:
    """A folder without a node is not paused."""
    shown = CliRunner().invoke(node.app, ["pause", "--data-dir", str(tmp_path)])
    assert isinstance(shown.exception, NodeFailed)
    assert shown.exception.exit_code == errors.NotEnrolled.exit_code


def test_where_nothing_can_be_written_the_agent_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its terminal was closed, or the disk is full that `nohup` writes to: it only says nothing."""
    full = Path("/dev/full").open("w", buffering=1)  # noqa: SIM115 - closing it fails
    monkeypatch.setattr(sys, "stdout", full)
    monkeypatch.setattr(sys, "stderr", full)
    screen = NodeScreen()
    for event in (Begun("network"), State("ready", "", ("m",)), Link("", "away"), Link("nats://n")):
        screen.tell(event)
    configure_logs()
    structlog.get_logger().error("beat_failed")
    screen.end()
    with pytest.raises(OSError, match="No space left"):
        full.close()


def test_the_logs_of_a_command_are_not_kept_for_good(capsys: pytest.CaptureFixture[str]) -> None:
    """What logged once in a command logs by whatever is set up afterwards."""
    log = structlog.get_logger()
    configure_logs()
    log.warning("first")
    assert "event=first" in capsys.readouterr().err
    with capture_logs() as told:
        log.warning("second")
    assert [line["event"] for line in told] == ["second"]
