"""How results reach the owner."""

import io
import sys
from pathlib import Path

import pytest

from garage_ai.cli import output
from garage_ai.cli.errors import Failed


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_no_colours_off_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe gets text and nothing else."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert output.styled("x", "red", io.StringIO()) == "x"


def test_no_colours_where_none_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR rules on a terminal too."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert output.styled("x", "red", Terminal()) == "x"
    monkeypatch.delenv("NO_COLOR")
    assert output.styled("x", "red", Terminal()) == "\x1b[31mx\x1b[0m"


def test_what_steers_a_terminal_is_taken_out() -> None:
    """A model's answer cannot move the cursor or retitle the window."""
    assert output.harmless("a\x1b[2Jb\x9b1mc\u202ed\n\te") == "a[2Jb1mcd\n\te"


def test_a_table_lines_up(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns are as wide as their widest cell; numbers stand right."""
    output.write_table(("name", "requests"), [("short", "7"), ("a longer one", "1234")])
    assert capsys.readouterr().out == (
        "name          requests\nshort                7\na longer one      1234\n"
    )


def test_an_error_says_what_and_what_next(capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, the last words of a log, and the next step, on stderr."""
    output.report(Failed("It broke.", "Mend it.", ("line one",)))
    captured = capsys.readouterr()
    assert captured.err == "gai: It broke.\n    line one\nMend it.\n"
    assert captured.out == ""


def test_a_command_that_no_shell_finds_is_told_with_its_path(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After `./start.sh join` nobody has `gai` on PATH, which the advice names."""
    gai = tmp_path / "a folder" / "gai"
    monkeypatch.setattr(sys, "argv", [str(gai), "node", "run"])
    monkeypatch.setenv("PATH", str(tmp_path))
    advised = Failed("It broke.", "See: gai node doctor")
    output.report(advised)
    assert capsys.readouterr().err.endswith(f"See: gai node doctor\nHere `gai` is '{gai}'\n")
    output.report(Failed("It broke.", "Mend it."))
    assert "Here" not in capsys.readouterr().err

    gai.parent.mkdir()
    gai.touch(0o755)
    monkeypatch.setenv("PATH", str(gai.parent))
    output.report(advised)
    assert "Here" not in capsys.readouterr().err


def test_a_reader_that_left_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """`gai up | head -3` goes on serving."""

    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    assert not output.write("x")
