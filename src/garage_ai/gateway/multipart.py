"""A form with a file in it, read as it comes (RFC 7578): the file is never held whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from garage_ai.gateway.errors import BadRequest

MAX_FIELD: Final = 4096
"""Bytes of a field that is no file."""
MAX_PARTS: Final = 32


@dataclass(frozen=True, slots=True)
class FileBegins:
    """The part of the file has begun."""

    name: str
    filename: str


@dataclass(frozen=True, slots=True)
class FileData:
    """Bytes of the file."""

    data: bytes


@dataclass(frozen=True, slots=True)
class FieldGiven:
    """A field that is no file, whole."""

    name: str
    value: str


Told = FileBegins | FileData | FieldGiven


class FormReader:
    """Turn the bytes of a form into what they tell, in order. Raises: BadRequest throughout."""

    def __init__(self, content_type: str | None) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise BadRequest("invalid_value", "Send the file as multipart/form-data.")
        self._told: list[Told] = []
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._name = ""
        self._in_file = False
        self._parts = 0
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begins,
                    "on_header_field": self._header_named,
                    "on_header_value": self._header_valued,
                    "on_header_end": self._header_ends,
                    "on_headers_finished": self._headers_end,
                    "on_part_data": self._data,
                    "on_part_end": self._part_ends,
                    "on_end": self._form_ends,
                },
            )
        except FormParserError as error:
            raise _malformed() from error

    def feed(self, data: bytes) -> Iterator[Told]:
        """Give what these bytes tell."""
        try:
            self._parser.write(data)
        except (FormParserError, UnicodeDecodeError) as error:
            raise _malformed() from error
        told, self._told = self._told, []
        return iter(told)

    def finish(self) -> None:
        """Make sure that the form came to its end."""
        if not self._ended:
            raise _malformed()

    def _part_begins(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise FormParserError("too many parts")
        self._disposition = b""
        self._value.clear()

    def _header_named(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_valued(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode()
        filename = options.get(b"filename")
        self._in_file = filename is not None
        if filename is not None:
            # Windows' curl sends it in the PC's own code page; it is but what a file is shown as.
            self._told.append(FileBegins(self._name, filename.decode(errors="replace")))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._told.append(FileData(data[start:end]))
        elif len(self._value) + end - start > MAX_FIELD:
            raise no_file(self._name[:64])
        else:
            self._value += data[start:end]

    def _part_ends(self) -> None:
        if not self._in_file:
            self._told.append(FieldGiven(self._name, self._value.decode()))
        self._in_file = False
        self._value.clear()

    def _form_ends(self) -> None:
        self._ended = True


def no_file(name: str) -> BadRequest:
    """Say that a field holds what should have come as a file."""
    words = f"'{name}': no file, as it has no filename; curl sends one with -F file=@NAME."
    return BadRequest("invalid_value", words, param=name)


def _malformed() -> BadRequest:
    return BadRequest("invalid_value", "The body is no whole multipart/form-data.")


__all__ = ["FieldGiven", "FileBegins", "FileData", "FormReader", "Told", "no_file"]
