"""`gai chat` as a process."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.cli.conftest import Cli, FakeGateway, error
from tests.parts.terminal import Terminal


def test_a_question_and_its_answer(cli: Cli, gateway: FakeGateway) -> None:
    """stdout holds the answer alone; speed is on stderr."""
    ended = cli("chat", "Say hello")
    assert ended.returncode == 0
    assert ended.stdout == "Hello there.\n"
    assert re.match(r"3 tokens,.* first after \d+\.\d\d s\n", ended.stderr)
    assert gateway.asked[0]["model"] == "garage-chat"
    assert gateway.asked[0]["stream"] is True


def test_a_model_of_choice(cli: Cli, gateway: FakeGateway) -> None:
    """MODEL and text, in this order."""
    cli("chat", "tiny", "Say hello", "--system", "Be brief.")
    assert gateway.asked[0]["model"] == "tiny"
    assert gateway.asked[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Say hello"},
    ]


def test_an_answer_of_bounded_length(cli: Cli, gateway: FakeGateway) -> None:
    """--max-tokens goes to the model; without it nothing is said of length."""
    cli("chat", "Say hello", "--max-tokens", "20")
    cli("chat", "Say hello")
    assert gateway.asked[0]["max_tokens"] == 20
    assert "max_tokens" not in gateway.asked[1]


def test_an_answer_that_nobody_reads_any_more_is_stopped(cli: Cli, gateway: FakeGateway) -> None:
    """`gai chat … | head -1`: the node is not kept at work for a reader that has left."""
    gateway.pause_after = 1
    reader, writer = os.pipe()
    os.close(reader)
    argv = cli.argv("chat", "Say hello")
    with subprocess.Popen(argv, env=cli.environment, stdin=subprocess.DEVNULL, stdout=writer) as it:
        os.close(writer)
        try:
            assert gateway.left.wait(20)
            assert it.wait(20) == 0
        finally:
            it.kill()


def test_a_disk_that_is_full_is_told_once(cli: Cli) -> None:
    """`gai chat … > FILE`: in a line, and no more of it when Python ends."""
    argv = cli.argv("chat", "Say hello")
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            argv, env=cli.environment, stdout=full, stderr=subprocess.PIPE, timeout=30, check=False
        )
    assert (ended.returncode, ended.stderr) == (1, b"gai: No space left on device.\n")


def test_a_question_from_a_pipe(cli: Cli, gateway: FakeGateway) -> None:
    """echo text | gai chat MODEL."""
    ended = cli("chat", "tiny", said="Say\nhello\n")
    assert ended.stdout == "Hello there.\n"
    assert gateway.asked[-1]["messages"] == [{"role": "user", "content": "Say\nhello"}]


def test_an_empty_pipe_is_said(cli: Cli) -> None:
    """Nothing to ask is not asked."""
    ended = cli("chat", said="  \n")
    assert ended.returncode == 1
    assert ended.stderr == "gai: There is nothing to ask.\n"


def test_an_answer_as_json(cli: Cli) -> None:
    """--json gives the answer and its figures."""
    shown = json.loads(cli("chat", "Say hello", "--json").stdout)
    assert shown["content"] == "Hello there."
    assert shown["completion_tokens"] == 3
    assert shown["first_token_s"] > 0


def test_an_answer_that_breaks_off(cli: Cli, gateway: FakeGateway) -> None:
    """What came is shown, then the error; the exit code says so."""
    gateway.ending = [json.dumps(error("The node was lost.", "node_lost"))]
    ended = cli("chat", "Say hello")
    assert ended.returncode == 1
    assert ended.stdout == "Hello there.\n"
    assert "gai: The answer broke off: The node was lost.\n" in ended.stderr


def test_a_stream_without_an_end_broke_off(cli: Cli, gateway: FakeGateway) -> None:
    """No [DONE], no success."""
    gateway.ending = []
    assert cli("chat", "Say hello").returncode == 1


def test_an_unknown_model_says_where_to_look(cli: Cli, gateway: FakeGateway) -> None:
    """The next step is `gai models`."""
    gateway.refusal = (404, error("No model 'x' is served.", "model_not_found"), {})
    ended = cli("chat", "x", "Say hello")
    assert "\n`gai models` shows what is served" in ended.stderr


def test_ctrl_c_stops_the_question(cli: Cli, gateway: FakeGateway) -> None:
    """One shot: 130, and the gateway sees the client go."""
    gateway.pause_after = 1
    with subprocess.Popen(
        cli.argv("chat", "Say hello"),
        env=cli.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(5) == b"Hello"
        assert gateway.paused.wait(20)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert gateway.left.wait(20)


@pytest.fixture
def talk(cli: Cli) -> Iterator[Terminal]:
    """Give `gai chat` at a terminal."""
    made = Terminal(cli.argv("chat"), cli.environment)
    yield made
    made.close()


def test_a_conversation_remembers(talk: Terminal, gateway: FakeGateway) -> None:
    """The second question carries the first and its answer; /reset forgets both."""
    talk.until("you> ")
    talk.type("First\n")
    talk.until("Hello there.")
    talk.until("you> ")
    talk.type("Second\n")
    talk.until("Hello there.")
    talk.until("you> ")
    talk.type("/reset\n")
    talk.until("forgotten")
    talk.until("you> ")
    talk.type("Third\\\nline\n")
    talk.until("Hello there.")
    talk.until("you> ")
    talk.type("/quit\n")
    assert talk.process.wait(30) == 0
    said = [[m["content"] for m in asked["messages"]] for asked in gateway.asked]  # type: ignore[attr-defined]
    assert said == [["First"], ["First", "Hello there.", "Second"], ["Third\nline"]]


def test_ctrl_c_stops_the_answer_and_not_the_program(talk: Terminal, gateway: FakeGateway) -> None:
    """What was said so far stays in the history."""
    gateway.pause_after = 1
    talk.until("you> ")
    talk.type("Go on\n")
    talk.until("Hello")
    assert gateway.paused.wait(20)
    talk.type("\x03")
    talk.until("stopped")
    assert gateway.left.wait(20)
    talk.until("you> ")
    gateway.pause_after = None
    talk.type("And now\n")
    talk.until("Hello there.")
    talk.until("you> ")
    talk.type("\x04")
    assert talk.process.wait(30) == 0
    assert gateway.asked[-1]["messages"] == [
        {"role": "user", "content": "Go on"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "And now"},
    ]


def test_ctrl_c_at_the_prompt_leaves_nobody(talk: Terminal) -> None:
    """It says how to leave, and stays."""
    talk.until("you> ")
    talk.type("half a thou")
    talk.until("half a thou")
    talk.type_until("\x03", "/quit or Ctrl-D leaves")
    talk.type_until("/nonsense\n", "no such command: /nonsense")
    talk.until("you> ")
    talk.type("/model tiny\n")
    talk.until("now talking to tiny")


def test_an_error_ends_no_conversation(talk: Terminal, gateway: FakeGateway) -> None:
    """After a refusal the next question is asked."""
    gateway.refusal = (503, error("No node.", "no_node"), {})
    talk.until("you> ")
    talk.type("Hi\n")
    talk.until("No node.")
    gateway.refusal = None
    talk.until("you> ")
    talk.type("Hi\n")
    talk.until("Hello there.")


def test_an_answer_cannot_steer_the_terminal(talk: Terminal, gateway: FakeGateway) -> None:
    """A node is somebody else's machine: escape sequences do not get through."""
    gateway.words = ["a\x1b]0;pwned\x07b"]
    talk.until("you> ")
    talk.type("Hi\n")
    assert "a]0;pwnedb" in talk.until("pwnedb")
