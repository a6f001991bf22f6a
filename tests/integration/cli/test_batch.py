"""`gai batch` as a process, against a gateway that answers."""

import json
import re
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.cli.conftest import Cli, FakeGateway, batch, error
from tests.parts.terminal import Terminal, plain
from tests.parts.waiting import eventually

from garage_ai.gateway.multipart import FieldGiven, FileBegins, FileData, FormReader

pytestmark = pytest.mark.slow

COUNTS = {"total": 4, "completed": 3, "failed": 1}
DONE = batch(
    "completed",
    model="tiny",
    request_counts=COUNTS,
    usage={"input_tokens": 40, "output_tokens": 900},
    in_progress_at=1_764_000_010,
    finalizing_at=1_764_000_100,
    output_file_id="file-out",
    error_file_id="file-err",
    gai={"reserved": "5000000000", "charged": "1250000000"},
)
RUNNING = batch("in_progress", request_counts={"total": 4}, in_progress_at=1_764_000_010)
REQUEST = b'{"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {}}\n'


@pytest.fixture
def lines(tmp_path: Path) -> str:
    """A file of requests."""
    path = tmp_path / 'in "1".jsonl'
    path.write_bytes(REQUEST * 3000)
    return str(path)


@pytest.fixture
def table(tmp_path: Path) -> str:
    """A CSV file of two rows."""
    path = tmp_path / "towns.csv"
    path.write_text("id,town\n1,Åre\n2,Lund\n", "utf-8")
    return str(path)


def waiting(cli: Cli) -> "subprocess.Popen[str]":
    """Begin to wait for a batch."""
    return subprocess.Popen(
        cli.argv("batch", "get", "batch_1", "--wait"),
        env=cli.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def uploaded(gateway: FakeGateway) -> tuple[dict[str, str], str, bytes]:
    """Read what was uploaded as the gateway itself reads it: fields, name, bytes."""
    [(kind, data)] = gateway.uploads
    reader = FormReader(kind)
    fields, name, file = {}, "", b""
    for told in reader.feed(data):
        match told:
            case FieldGiven(field, value):
                fields[field] = value
            case FileBegins(_, filename):
                name = filename
            case FileData(piece):
                file += piece
    reader.finish()
    return fields, name, file


def test_lines_are_submitted(cli: Cli, gateway: FakeGateway, lines: str) -> None:
    """As they are, as OpenAI's clients do it; the id is alone on stdout."""
    ended = cli("batch", "submit", lines)
    assert (ended.stdout, ended.returncode) == ("batch_1\n", 0), ended.stderr
    assert "`gai batch get --wait`" in ended.stderr
    assert gateway.paths == ["POST /v1/files", "POST /v1/batches"]
    fields, name, file = uploaded(gateway)
    assert (fields, file) == ({"purpose": "batch"}, REQUEST * 3000)
    assert name == "in %221%22.jsonl"
    assert gateway.asked[-1] == {
        "input_file_id": "file-in",
        "endpoint": "/v1/embeddings",
        "completion_window": "24h",
    }


def test_a_table_is_submitted(cli: Cli, gateway: FakeGateway, table: str) -> None:
    """What --dry-run printed is what is sent; the rest goes beside it."""
    form = ("--template", "Where is {town}?", "--system", "Be brief.", "--model", "tiny")
    shown = cli("batch", "submit", table, *form, "--max-tokens", "9", "--dry-run")
    assert gateway.paths == []
    first, second = map(json.loads, shown.stdout.splitlines())
    assert (first["custom_id"], second["custom_id"]) == ("1", "2")
    assert first["body"] == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Where is Åre?"},
        ],
        "max_tokens": 9,
    }
    options = (
        "--max-tokens",
        "9",
        "--window",
        "7d",
        "--metadata",
        "for=course",
        "--metadata",
        "a=b=c",
    )
    cli("batch", "submit", table, *form, *options)
    _, name, file = uploaded(gateway)
    assert (name, file) == ("towns.csv.jsonl", shown.stdout.encode())
    assert gateway.asked[-1] == {
        "input_file_id": "file-in",
        "endpoint": "/v1/chat/completions",
        "completion_window": "7d",
        "metadata": {"for": "course", "a": "b=c"},
    }


def test_a_dry_run_needs_no_gateway(bare_cli: Cli, table: str) -> None:
    """Neither address nor key; its output can be submitted."""
    shown = bare_cli("batch", "submit", table, "--template", "{town}", "--dry-run")
    assert (shown.returncode, shown.stderr) == (0, "")
    path = Path(table).with_name("made.jsonl")
    path.write_text(shown.stdout, "utf-8")
    assert bare_cli("batch", "submit", str(path), "--dry-run").stdout == shown.stdout


def test_wrong_use(cli: Cli, gateway: FakeGateway, lines: str, table: str) -> None:
    """What cannot be meant ends with 2 and reaches nobody."""
    for words in (
        (lines, "--template", "{x}"),
        (lines, "--max-tokens", "3"),
        (table, "--template", "{"),
        (table, "--template", "{town}", "--metadata", "x"),
    ):
        assert cli("batch", "submit", *words).returncode == 2, words
    ended = cli("batch", "submit", table)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"gai: {table} has no column prompt; it has id, town.\n")
    assert gateway.paths == []


def test_a_batch_is_waited_for(cli: Cli, gateway: FakeGateway, lines: str) -> None:
    """Each state is told of once, without a terminal; the end with its figures on stdout."""
    gateway.batches = [batch(), RUNNING, RUNNING, batch("finalizing", request_counts=COUNTS), DONE]
    ended = cli("batch", "submit", lines, "--wait")
    assert ended.returncode == 0, ended.stderr
    said = [
        "batch_1",
        "being checked",
        "running, 0/4",
        "being written, 4/4, 1 without an answer",
        "done, 4/4, 1 without an answer, 1.25 GAI",
        "Answers: `gai batch results batch_1`",
        "Without an answer, and why: `gai batch results batch_1 --errors`",
    ]
    assert ended.stderr.splitlines()[1:] == said
    rows = dict(line.split(maxsplit=1) for line in ended.stdout.splitlines())
    assert rows == {
        "batch": "batch_1",
        "state": "done",
        "model": "tiny",
        "requests": "3 of 4 answered, 1 without an answer",
        "tokens": "40 in, 900 out (10.0 tokens/s)",
        "time": "1 min 30 s",
        "cost": "1.25 GAI",
    }


@pytest.fixture
def terminal(cli: Cli, lines: str) -> Iterator[Terminal]:
    """Give `gai batch submit --wait` at a terminal."""
    made = Terminal(cli.argv("batch", "submit", lines, "--wait"), cli.environment)
    yield made
    made.close()


def test_a_terminal_has_a_bar(gateway: FakeGateway, terminal: Terminal) -> None:
    """With how many are answered, how fast, for how much and how long still; gone at the end.

    Nothing of it is cut off on the usual 80 columns.
    """

    def running(ended: int, tokens: int) -> dict[str, object]:
        counts = {"total": 40_000, "completed": ended, "failed": min(ended, 3)}
        more = {"request_counts": counts, "usage": {"output_tokens": tokens}}
        return RUNNING | more | {"gai": {"reserved": "5000000000", "charged": "12345678"}}

    gateway.batches = [batch(), running(0, 0), running(12_000, 123_456), DONE]
    shown = terminal.end()
    assert terminal.process.wait(30) == 0, shown
    bars, _, after = shown.rpartition("\u2501")
    assert re.search(
        r"\u2501 running, 12003/40000, 3 without an answer, \d+\.\d tokens/s, 0\.012345678 GAI, "
        r"about \d+ s left ",
        plain(bars),
    ), plain(bars)
    assert "\x1b[2K" in after.partition("state")[0]
    assert "state done model tiny requests 3 of 4 answered" in plain(after)


def test_a_batch_that_ends_otherwise_at_a_terminal(
    gateway: FakeGateway, terminal: Terminal
) -> None:
    """Exit 1; what was answered is shown all the same."""
    gateway.batches = [RUNNING, DONE | {"status": "expired"}]
    shown = terminal.end()
    assert terminal.process.wait(30) == 1, shown
    assert "requests 3 of 4 answered, 1 without an answer" in plain(shown)
    assert "gai: batch_1 ended otherwise:" in plain(shown)


def test_waiting_as_json(cli: Cli, gateway: FakeGateway) -> None:
    """One object, that of the end."""
    gateway.batches = [RUNNING, DONE]
    ended = cli("batch", "get", "batch_1", "--wait", "--json")
    assert json.loads(ended.stdout)["status"] == "completed"
    assert ended.stderr == ""


def test_a_refused_batch(cli: Cli, gateway: FakeGateway) -> None:
    """Exit 1, with what is wrong in which line."""
    wrong = {"data": [{"code": "invalid_json_line", "message": "No \x1bJSON.", "line": 3}]}
    gateway.batches = [batch(), batch("failed", errors=wrong)]
    ended = cli("batch", "get", "batch_1", "--wait")
    assert ended.returncode == 1
    assert "  line 3: No JSON.\n" in ended.stdout
    assert "gai: batch_1 ended otherwise: refused.\n" in ended.stderr


@pytest.mark.parametrize("refused", [(503, "storage_unavailable"), (429, "rate_limit_exceeded")])
def test_a_gateway_that_is_away_for_a_moment(
    cli: Cli, gateway: FakeGateway, refused: tuple[int, str]
) -> None:
    """The waiting goes on: the batch does too."""
    status, code = refused
    gateway.batches = [RUNNING]
    with waiting(cli) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "running, 0/4\n"
        gateway.refusal = (status, error("Not now.", code), {})
        assert process.stderr.readline().startswith("The gateway cannot answer for the moment;")
        gateway.batches, gateway.refusal = [DONE], None
        shown, told = process.communicate(timeout=30)
    assert process.returncode == 0, told
    assert "done" in shown


def test_ctrl_c_leaves_the_batch_running(cli: Cli, gateway: FakeGateway) -> None:
    """130, nothing is cancelled, and it is said how to go on."""
    gateway.batches = [RUNNING]
    with waiting(cli) as process:
        eventually("a second look", lambda: len(gateway.paths) > 1, 20)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "`gai batch get batch_1 --wait`" in told
    assert "Traceback" not in told
    assert set(gateway.paths) == {"GET /v1/batches/batch_1"}


def test_a_file_of_no_use_does_not_stay(cli: Cli, gateway: FakeGateway, lines: str) -> None:
    """Where no batch is made of it, what was sent is deleted again."""
    gateway.submission = (400, error("'completion_window': from 1h to 7d.", "invalid_value"))
    ended = cli("batch", "submit", lines, "--window", "1y")
    assert ended.returncode == 1
    assert "'completion_window'" in ended.stderr
    assert gateway.paths == ["POST /v1/files", "POST /v1/batches", "DELETE /v1/files/file-in"]


def test_batches_as_a_table(cli: Cli, gateway: FakeGateway) -> None:
    """Newest first, and where the next page begins."""
    gateway.batches = [DONE, batch()]
    ended = cli("batch", "list", "--limit", "2", "--after", "batch_0", TZ="UTC")
    assert ended.stdout == (
        "id       state          model  ended  requests  unanswered  created\n"
        "batch_1  done           tiny       4         4           1  2025-11-24 16:00\n"
        "batch_1  being checked  -          0         0           0  2025-11-24 16:00\n"
    )
    assert "--after batch_1" in ended.stderr
    assert gateway.paths == ["GET /v1/batches?limit=2&after=batch_0"]
    assert len(json.loads(cli("batch", "list", "--json").stdout)) == 2


def test_a_batch_is_cancelled(cli: Cli, gateway: FakeGateway) -> None:
    """By its id; what is answered can be had."""
    gateway.batches = [batch("cancelling")]
    ended = cli("batch", "cancel", "batch_1")
    assert ended.stdout.startswith("batch_1 is being cancelled; `gai batch results batch_1`")
    assert gateway.paths == ["POST /v1/batches/batch_1/cancel"]


def test_results(cli: Cli, gateway: FakeGateway, tmp_path: Path) -> None:
    """Byte by byte to a pipe, or to a new file that is its owner's alone."""
    gateway.batches = [DONE]
    gateway.content = b'{"custom_id": "\xc3\xa5"}\n' * 5000
    ended = cli("batch", "results", "batch_1")
    assert ended.stdout.encode() == gateway.content
    assert gateway.paths[-1] == "GET /v1/files/file-out/content"
    path = tmp_path / "out.jsonl"
    told = cli("batch", "results", "batch_1", "--errors", "--output", str(path))
    assert (told.stdout, told.stderr) == ("", f"100.0 kB written to {path}.\n")
    assert path.read_bytes() == gateway.content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert gateway.paths[-1] == "GET /v1/files/file-err/content"
    again = cli("batch", "results", "batch_1", "--output", str(path))
    assert again.returncode == 1
    assert "File exists" in again.stderr


def test_results_that_break_off(cli: Cli, gateway: FakeGateway, tmp_path: Path) -> None:
    """Half of a file is none."""
    gateway.batches = [DONE]
    gateway.content, gateway.missing = b"{}\n", 7
    path = tmp_path / "out.jsonl"
    ended = cli("batch", "results", "batch_1", "--output", str(path))
    assert ended.returncode == 1
    assert "broke off" in ended.stderr
    assert not path.exists()


@pytest.mark.parametrize(
    ("found", "words", "says"),
    [
        (RUNNING, (), "has not ended yet: running"),
        (batch("failed"), (), "has no answers"),
        (DONE | {"error_file_id": None}, ("--errors",), "has no request without an answer"),
    ],
)
def test_results_that_are_not_there(
    cli: Cli, gateway: FakeGateway, found: dict[str, object], words: tuple[str, ...], says: str
) -> None:
    """It is said why."""
    gateway.batches = [found]
    ended = cli("batch", "results", "batch_1", *words)
    assert ended.returncode == 1
    assert says in ended.stderr
