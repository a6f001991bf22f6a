"""A log that cannot fill the disk."""

from pathlib import Path

from garage_ai.node.logs import BoundedLog


def test_begins_anew_when_it_is_full(tmp_path: Path) -> None:
    """One older file is kept; together they stay within two and a bit times the limit."""
    log = BoundedLog(tmp_path / "logs" / "engine.log", max_bytes=1000)
    for number in range(500):
        log.write(b"line %d\n" % number)
    log.close()
    files = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert files == ["engine.log", "engine.log.1"]
    sizes = [(tmp_path / "logs" / name).stat().st_size for name in files]
    assert all(size <= 1010 for size in sizes)
    newest = (tmp_path / "logs" / "engine.log").read_bytes().splitlines()
    older = (tmp_path / "logs" / "engine.log.1").read_bytes().splitlines()
    assert (newest or older)[-1] == b"line 499"


def test_a_line_is_cut_and_ended(tmp_path: Path) -> None:
    """A line without an end, or without end, takes one line."""
    log = BoundedLog(tmp_path / "engine.log")
    log.write(b"x" * 100_000)
    log.write(b"next")
    log.close()
    assert [len(line) for line in (tmp_path / "engine.log").read_bytes().splitlines()] == [4096, 4]


def test_a_disk_that_takes_nothing_stops_nobody(tmp_path: Path) -> None:
    """A line that cannot be written is lost, and that is all."""
    (tmp_path / "file").write_text("not a folder")
    log = BoundedLog(tmp_path / "file" / "engine.log")
    log.write(b"line")
    log.close()
    assert (tmp_path / "file").read_text() == "not a folder"
