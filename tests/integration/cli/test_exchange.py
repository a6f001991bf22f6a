"""Answers that end too early, come from somebody else, or never come."""

import re
import subprocess
from pathlib import Path

import pytest
from tests.integration.cli.conftest import Cli, FakeGateway, error

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n"
COUNTED = b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\nContent-Type: text/plain\r\n\r\n"
ELSEWHERE = (
    b"HTTP/1.1 301 Moved Permanently\r\nLocation: https://gai.example/\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nmoved"
)
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>"


@pytest.mark.parametrize(
    "raw",
    [
        CHUNKED + b"7\r\nline 1\n\r\n",
        CHUNKED + b"e\r\nline 1\n",
        COUNTED + b"line 1\n",
    ],
)
def test_books_that_break_off_are_no_export(cli: Cli, gateway: FakeGateway, raw: bytes) -> None:
    """Wherever the connection ends: who keeps half of the books is to know it."""
    gateway.raw = raw
    ended = cli("ledger", "export")
    assert (ended.returncode, ended.stdout) == (1, "line 1\n")
    assert "gai: The answer broke off: the connection ended" in ended.stderr


def test_books_come_line_by_line(cli: Cli, gateway: FakeGateway) -> None:
    """Whatever pieces they come in; the last line may have no end."""
    gateway.raw = CHUNKED + b"4\r\nline\r\n5\r\n 1\nli\r\n5\r\nne \xc3\xa5\r\n0\r\n\r\n"
    ended = cli("ledger", "export", PYTHONUTF8="1")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "line 1\nline å", "")


def test_ones_own_data_is_whole_or_not_there(
    cli: Cli, gateway: FakeGateway, tmp_path: Path
) -> None:
    """What broke off is told as that, and leaves no file."""
    gateway.raw = CHUNKED + b"7\r\nline 1\n\r\n"
    path = tmp_path / "me.json"
    ended = cli("me", "export", str(path))
    assert ended.returncode == 1
    assert "broke off" in ended.stderr
    assert not path.exists()


@pytest.mark.parametrize(
    ("raw", "says"),
    [(ELSEWHERE, "leads on to https://gai.example/."), (PAGE, "no Garage AI gateway says")],
)
def test_what_somebody_else_answers_is_kept_as_nobodys_data(
    cli: Cli, gateway: FakeGateway, tmp_path: Path, raw: bytes, says: str
) -> None:
    """A wrong URL: the page of a proxy became the file that was asked for."""
    gateway.raw = raw
    path = tmp_path / "me.json"
    for command in (("me", "export", str(path)), ("ledger", "export"), ("models",)):
        ended = cli(*command)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert says in ended.stderr
    assert not path.exists()


@pytest.mark.parametrize(
    "command",
    [
        ("ledger", "adjust", "member:mbr_1", "5", "--reason", "a gift"),
        ("node", "forfeit", "nabc", "--reason", "another model"),
    ],
)
def test_what_may_have_been_done_is_not_done_twice(
    cli: Cli, gateway: FakeGateway, command: tuple[str, ...]
) -> None:
    """Without an answer the key is told that it was asked with; a refusal needs none."""
    gateway.refusal = (503, error("The database is away.", "storage_unavailable"), {})
    away = cli(*command)
    assert away.returncode == 1
    told = re.search(r"--idempotency-key (\S+) ", away.stderr)
    assert told is not None
    assert gateway.once == [told[1]]
    gateway.raw = COUNTED + b"{"
    assert f"--idempotency-key {told[1]} " in cli(*command, "--idempotency-key", told[1]).stderr
    gateway.raw = None
    gateway.refusal = (400, error("No such account.", "invalid_transfer"), {})
    assert "--idempotency-key" not in cli(*command).stderr


def test_an_export_whose_reader_has_left(cli: Cli, gateway: FakeGateway) -> None:
    """`gai me export - | head -1` is no failure."""
    size = 4_000_000
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    gateway.raw = head.encode() + b"x" * size
    command = cli.argv("me", "export", "-")
    with subprocess.Popen(
        command, env=cli.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stdout.read(1) == b"x"
        running.stdout.close()
        assert running.stderr is not None
        said = running.stderr.read()
    assert (running.returncode, said) == (0, b"")


def test_moments_are_those_of_this_pc(cli: Cli) -> None:
    """As `--since` and `--expires` are typed; the gateway tells them in UTC."""
    shown = cli("key", "list", TZ="CET-1")
    assert "2026-11-23 16:00" in shown.stdout
