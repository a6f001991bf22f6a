"""Logs of children stay small and stop nobody."""

from pathlib import Path

from garage_ai.local.logs import LogFile


def test_a_full_file_is_moved_aside(tmp_path: Path) -> None:
    """The current file and the kept ones bound what a talkative child can fill."""
    log = LogFile(tmp_path / "child.log", max_bytes=10, kept=2)
    for number in range(5):
        log.write(f"line {number}\n".encode())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "child.log",
        "child.log.1",
        "child.log.2",
    ]
    assert (tmp_path / "child.log").read_text() == "line 4\n"
    assert (tmp_path / "child.log.1").read_text() == "line 3\n"
    assert (tmp_path / "child.log.2").read_text() == "line 2\n"


def test_the_tail_holds_the_last_lines(tmp_path: Path) -> None:
    """What a child said last is given, oldest first, without empty lines."""
    log = LogFile(tmp_path / "child.log")
    log.write(b"one\n\ntwo\nthree\n")
    assert log.tail(2) == ("two", "three")


def test_no_log_has_no_tail(tmp_path: Path) -> None:
    """A child that said nothing has no last words."""
    assert LogFile(tmp_path / "child.log").tail(5) == ()


def test_a_log_that_cannot_be_written_is_counted(tmp_path: Path) -> None:
    """A disk that takes nothing more costs log lines, not the network."""
    log = LogFile(tmp_path / "missing" / "child.log")
    log.write(b"12345")
    assert log.lost == 5


def test_a_log_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    """Else a child that fails on a full disk would have no last words."""
    log = LogFile(tmp_path / "logs" / "node.log")
    log.write(b"never kept\n")
    assert log.tail(3) == (f"{log.path} cannot be written: No such file or directory",)
    log.path.parent.mkdir()
    log.write(b"kept\n")
    assert log.tail(3) == ("kept",)
