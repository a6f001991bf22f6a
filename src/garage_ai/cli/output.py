"""How results and remarks reach the owner: results to stdout, remarks and errors to stderr."""

import contextlib
import os
import re
import shlex
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, TextIO

import msgspec

from garage_ai.cli.errors import CliError
from garage_ai.cli.misuse_words import say

Style = Literal["dim", "bold", "red", "green", "yellow"]

_CODES: Final[dict[Style, str]] = {
    "dim": "2",
    "bold": "1",
    "red": "31",
    "green": "32",
    "yellow": "33",
}
_KEPT: Final = frozenset("\n\t")
_COMMAND: Final = re.compile(r"\bgai [a-z]")


def is_rich(stream: TextIO) -> bool:
    """Tell whether colours and movement are wanted there (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: Style, stream: TextIO) -> str:
    """Give the text in a style, or as it is where none is wanted."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if is_rich(stream) else text


def harmless(text: str) -> str:
    """Take out what could steer a terminal: the text comes from other people's machines."""
    return "".join(c for c in text if c in _KEPT or unicodedata.category(c) not in ("Cc", "Cf"))


def minute(moment: str | None) -> str:
    """Say an ISO 8601 moment in this PC's own time, to the minute; empty for none."""
    return second(moment)[:16] if moment else ""


def second(moment: str) -> str:
    """Say an ISO 8601 moment in this PC's own time; what is none stays as it is."""
    try:
        return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError):
        return moment


def write(text: str = "", *, end: str = "\n") -> bool:
    """Print a result, at once, and tell whether it was taken.

    A reader that has left is no error of ours, but what is written for it alone may end.
    """
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        return False
    return True


def finish() -> None:
    """Let go what a reader that has left, or a full disk, did not take: Python would end with an
    error of its own over it, though it was told or is none.

    https://docs.python.org/3/library/signal.html#note-on-sigpipe
    """
    try:
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def remark(text: str = "", *, style: Style | None = "dim", end: str = "\n") -> None:
    """Print something beside the result, which does not fail where it is not taken."""
    shown = styled(text, style, sys.stderr) if style else text
    with contextlib.suppress(OSError):
        print(shown, end=end, file=sys.stderr, flush=True)


def in_journal(stream: TextIO) -> bool:
    """Tell whether the system's journal keeps what is written there (systemd.exec(5))."""
    try:
        there = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{there.st_dev}:{there.st_ino}"


def at_terminal() -> bool:
    """Tell whether somebody is there to be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def write_json(result: object) -> None:
    """Print a result for programs: JSON with two spaces of indent."""
    write(msgspec.json.format(msgspec.json.encode(result)).decode())


def write_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns; numbers stand right."""
    clean = [[harmless(cell).replace("\n", " ") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *clean, strict=True)]
    write(styled(_line(headers, widths, headers), "bold", sys.stdout))
    for row in clean:
        write(_line(row, widths, row))


def _line(cells: Sequence[str], widths: Sequence[int], like: Sequence[str]) -> str:
    padded = (
        cell.rjust(width) if kind.replace(".", "").isdecimal() else cell.ljust(width)
        for cell, width, kind in zip(cells, widths, like, strict=True)
    )
    return "  ".join(padded).rstrip()


def write_private(path: Path, pieces: Iterable[bytes]) -> int:
    """Write a new file that only its owner may read, whole or not at all; gives its size.

    Raises: OSError, and what the pieces raise.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            return sum(file.write(piece) for piece in pieces)
    except BaseException:
        path.unlink()
        raise


def report(error: CliError) -> None:
    """Say what went wrong and what to do next."""
    remark(styled("gai: ", "red", sys.stderr) + harmless(error.message), style=None)
    for line in error.lines:
        remark(f"    {harmless(line)}")
    if error.advice:
        remark(harmless(error.advice), style=None)
    path = sys.argv[0]
    if _COMMAND.search(f"{error.message} {error.advice}") and _is_unknown_by_name(path):
        remark(harmless(say("gai_is", path=shlex.quote(path))))


def _is_unknown_by_name(path: str) -> bool:
    """Tell whether a shell would not find `gai`: start.sh runs it out of a folder of its own."""
    return Path(path).name == "gai" and shutil.which("gai") is None


__all__ = [
    "Style",
    "at_terminal",
    "finish",
    "harmless",
    "is_rich",
    "minute",
    "remark",
    "report",
    "second",
    "styled",
    "write",
    "write_json",
    "write_private",
    "write_table",
]
