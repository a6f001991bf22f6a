"""What `gai up` says of events and errors."""

import os
import shlex
from pathlib import Path

import pytest

from garage_ai.cli import screen, up_words
from garage_ai.cli.errors import Failed, Misused
from garage_ai.cli.screen import Screen, curl
from garage_ai.cli.up_run import in_words
from garage_ai.local.errors import (
    AlreadyUp,
    BadOptions,
    ChildFailed,
    LocalError,
    NotReadyInTime,
    PortTaken,
    TlsNeeded,
    Unfit,
)
from garage_ai.local.events import (
    Leaving,
    Left,
    LeftoversEnded,
    Ready,
    StandsBack,
    StepBegun,
    StepDone,
)
from garage_ai.local.folders import Folders
from garage_ai.local.supervisor import Change
from garage_ai.node.guard.words import Sentence

DIR = Path("/data")
LOG = Path("/data/logs/gateway.log")
ERRORS: list[LocalError] = [
    AlreadyUp(DIR, 7, "http://127.0.0.1:8000"),
    AlreadyUp(DIR, None, None),
    PortTaken("127.0.0.1", 8000, "--port", 7, "other"),
    PortTaken("127.0.0.1", 8000, "--port", None, None),
    ChildFailed("gateway", 1, LOG, ("last", "words")),
    NotReadyInTime("node", 300.0, LOG, ()),
    TlsNeeded("192.0.2.1"),
    BadOptions("--cert and --key belong together"),
    Unfit("no nats-server."),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_has_words_and_mostly_a_next_step(error: LocalError) -> None:
    """One sentence; what to do next except where the sentence says it."""
    told = in_words(error)
    assert told.message.endswith((".", ":"))
    assert ".." not in told.message
    assert "None" not in told.message
    assert bool(told.advice) is not isinstance(error, BadOptions | Unfit)
    expected = Misused if isinstance(error, BadOptions | TlsNeeded) else Failed
    assert type(told) is expected


def test_the_last_words_of_a_log_are_shown() -> None:
    """Oldest first, and where the rest is."""
    told = in_words(ChildFailed("gateway", 1, LOG, ("last", "words")))
    assert told.lines == ("last", "words")
    assert told.advice == "The whole log: /data/logs/gateway.log"


def test_curl_is_fit_for_a_shell() -> None:
    """Whatever is in a path or a key, the shell gives curl what was meant."""
    event = Ready("https://h:1", "gai_k", "garage-chat", Path("/it's here/ca.pem"), 1.0)
    argv = shlex.split(curl(event))
    assert argv[:3] == ["curl", "--cacert", "/it's here/ca.pem"]
    assert argv[3:5] == ["-H", "Authorization: Bearer gai_k"]
    assert argv[-1] == "https://h:1/v1/chat/completions"
    assert curl(event).isascii()


def test_the_journal_never_gets_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a service writes is kept where others read it; what goes into a file is not."""
    ready = Ready("http://h:1", "gai_k", "garage-chat", None, 1.0)
    for kept in (True, False):
        with (tmp_path / f"{kept}").open("w") as stream:
            there = os.fstat(stream.fileno())
            journal = f"{there.st_dev}:{there.st_ino if kept else 0}"
            monkeypatch.setenv("JOURNAL_STREAM", journal)
            monkeypatch.setattr("sys.stdout", stream)
            Screen(Folders(DIR)).tell(ready)
    assert "gai_k" in (tmp_path / "False").read_text()
    told = (tmp_path / "True").read_text()
    assert "gai_k" not in told
    assert "/data/admin.key" in told


def test_changes_of_children(capsys: pytest.CaptureFixture[str]) -> None:
    """An end is a remark; that a child is ready is one only after the start."""
    screen = Screen(Folders(DIR))
    screen.tell(Change("nats", "ready"))
    screen.tell(Change("nats", "ended", -9, 1, 0.1))
    screen.tell(Change("node", "ended", 1, 3, 2.0, worry=True))
    screen.tell(Ready("http://h:1", "gai_k", None, None, 1.0))
    screen.tell(Change("nats", "ready"))
    assert capsys.readouterr().err == (
        "NATS server ended (signal 9); starting it again in 0.1 s\n"
        "node has failed 3 times in a row (exit code 1); trying on, see /data/logs/node.log\n"
        "NATS server is back\n"
    )


@pytest.mark.parametrize(
    ("language", "beginning"),
    [
        ("en", "The node of this PC stands back (a game runs) and serves"),
        ("sv", "Den här datorns nod drar sig undan (ett spel körs) och arbetar"),
    ],
)
def test_a_node_that_stands_back_says_why(
    language: str,
    beginning: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the owner's language, the reason too."""
    for module in (screen, up_words):
        monkeypatch.setattr(module, "language", lambda: language)
    Screen(Folders(DIR)).tell(StandsBack(Sentence("a game runs", "ett spel körs")))
    assert capsys.readouterr().err.startswith(beginning)


def test_only_the_last_line_begins_with_ready(capsys: pytest.CaptureFixture[str]) -> None:
    """Programs wait for that line."""
    screen = Screen(Folders(DIR))
    for name in ("keys", "nats", "gateway", "node", "model"):
        screen.tell(StepBegun(name))
        screen.tell(StepDone(name, 1.0))
    screen.tell(LeftoversEnded(("nats", "gateway")))
    screen.tell(Ready("http://h:1", "gai_k", "garage-chat", None, 2.0))
    lines = capsys.readouterr().out.splitlines()
    assert [line.startswith("ready") for line in lines].index(True) == len(lines) - 1
    screen.tell(Leaving(30.0))
    screen.tell(Left())
    assert capsys.readouterr().out.endswith("stopped\n")
