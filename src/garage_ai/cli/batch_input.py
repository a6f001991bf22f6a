"""What `gai batch submit` is given: lines as they are sent, a CSV file, or a folder of prompts.

A folder is a table too: its columns are `name` and `prompt`.
"""

import contextlib
import csv
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from garage_ai.cli.batch_template import ENDPOINT, PROMPT, Form
from garage_ai.cli.batch_words import say
from garage_ai.cli.errors import Failed

MAX_PROMPT: Final = 8 * 1024 * 1024
"""Bytes of a file of a folder, of a cell, or of the first line: what memory is kept for."""

NAME: Final = "name"
_IDS: Final = ("custom_id", "id")
_NONE: Final = "\0"
"""Name of the column beyond the last, and text of a cell that is not there."""
_DELIMITERS: Final = ",;\t"
_TABLES: Final = frozenset({".csv", ".tsv"})


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table, and what its answer is to be found by."""

    custom_id: str
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Input:
    """A file of requests, ready to be sent: what it is called, and where its requests go."""

    name: str
    endpoint: str
    file: BinaryIO


class _First(msgspec.Struct):
    url: str


def is_table(path: Path) -> bool:
    """Tell whether requests are still to be made of it."""
    return path.is_dir() or path.suffix.lower() in _TABLES


@contextlib.contextmanager
def open_lines(path: Path) -> Iterator[Input]:
    """Open a file whose lines are requests. Raises: Failed."""
    with contextlib.ExitStack() as stack:
        with _readable(path):
            file = stack.enter_context(path.open("rb"))
            endpoint = _endpoint(path, file)
            file.seek(0)
        yield Input(path.name, endpoint, file)


@contextlib.contextmanager
def make_lines(path: Path, form: Form) -> Iterator[Input]:
    """Make a file of requests, gone afterwards, of a CSV file or a folder. Raises: Failed."""
    with tempfile.TemporaryFile() as file:
        rows = _folder(path) if path.is_dir() else _csv(path)
        with _readable(path):
            for row in rows:
                _check(path, form, row)
                file.write(form.line(row.custom_id, row.cells))
        if not file.tell():
            raise Failed(say("error.empty", path=path), say("error.empty.next"))
        file.seek(0)
        yield Input(f"{path.resolve().name}.jsonl", ENDPOINT, file)


def _endpoint(path: Path, file: BinaryIO) -> str:
    """Tell where the first request goes; all of a batch go to one place."""
    while line := file.readline(MAX_PROMPT):
        if line.isspace():
            continue
        try:
            return msgspec.json.decode(line.removeprefix(b"\xef\xbb\xbf"), type=_First).url
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Failed(
                say("error.no_request", path=path), say("error.no_request.next")
            ) from error
    raise Failed(say("error.empty", path=path), say("error.empty.next"))


def _csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(MAX_PROMPT)
    with path.open(encoding="utf-8-sig", newline="") as file:
        head = file.readline(MAX_PROMPT)
        # A spreadsheet in Swedish writes semicolons.
        delimiter = max(_DELIMITERS, key=head.count)
        file.seek(0)
        reader = csv.DictReader(
            file, delimiter=delimiter, restkey=_NONE, restval=_NONE, strict=True
        )
        try:
            names = [name for name in reader.fieldnames or () if name]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise Failed(say("error.column_twice", path=path, column=twice))
            own = next((name for name in _IDS if name in names), None)
            for number, cells in enumerate(reader, 1):
                if _NONE in cells or _NONE in cells.values():
                    raise Failed(say("error.cells", path=path, line=reader.line_num))
                yield Row(cells[own] if own else f"row-{number}", cells)
        except csv.Error as error:
            reason = f"{error} ({reader.line_num})"
            raise Failed(say("error.file", path=path, reason=reason)) from error


def _folder(path: Path) -> Iterator[Row]:
    files = (each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
    for file in sorted(files):
        if not _is_text(file.name):  # it names the request
            shown = file.name.encode(errors="surrogateescape").decode(errors="replace")
            raise Failed(say("error.name", name=shown), say("error.name.next"))
        with _readable(file), file.open("rb") as opened:
            data = opened.read(MAX_PROMPT + 1)
            if len(data) > MAX_PROMPT:
                raise Failed(say("error.too_long", path=file, bytes=MAX_PROMPT))
            yield Row(file.name, {NAME: file.stem, PROMPT: data.decode("utf-8-sig")})


def _is_text(name: str) -> bool:
    """Tell whether a file's name is UTF-8: others come out of old archives."""
    return not any("\ud800" <= each <= "\udfff" for each in name)


def _check(path: Path, form: Form, row: Row) -> None:
    missing = sorted(form.template.fields - row.cells.keys())
    if missing:
        there = ", ".join(sorted(name for name in row.cells if name))
        words = say("error.no_column", path=path, column=missing[0], columns=there)
        raise Failed(words, say("error.no_column.next"))


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise Failed(say("error.not_utf8", path=path), say("error.not_utf8.next")) from error
    except OSError as error:
        raise Failed(say("error.file", path=path, reason=error.strerror)) from error


__all__ = ["MAX_PROMPT", "Input", "Row", "is_table", "make_lines", "open_lines"]
