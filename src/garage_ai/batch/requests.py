"""What a line of an input file must be: pure, and told in the words of OpenAI's error list."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from garage_ai.batch.errors import LineRefused
from garage_ai.batch.models import ROUTES, Endpoint
from garage_ai.serving import Bound
from garage_ai.wire.frames import Route

MAX_CUSTOM_ID: Final = 255
"""Characters."""
_BOM: Final = b"\xef\xbb\xbf"


class Reading(Protocol):
    """A request's body, checked and cut to what engines may see; `bound` is how much it may be."""

    @property
    def model(self) -> str:
        """The model's name as the client says it."""

    @property
    def stream(self) -> bool:
        """Whether a stream is asked for."""

    @property
    def body(self) -> bytes:
        """The JSON for the engine."""

    @property
    def bound(self) -> Bound:
        """How much the answer may be."""


ReadRequest = Callable[[Route, bytes], Reading]
"""Reads a body as the edge reads it. Raises: LineRefused."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file: its number from 1, where its bytes begin, and the bytes themselves.

    `data` is None where there are more of them than a line may have.
    """

    number: int
    offset: int
    data: bytes | None

    @property
    def length(self) -> int:
        """How many bytes are held of it."""
        return len(self.data or b"")


@dataclass(frozen=True, slots=True)
class Asked:
    """A line that is a request."""

    custom_id: str
    reading: Reading


class _Shape(msgspec.Struct):
    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


_decoder: Final = msgspec.json.Decoder(_Shape)
_MISSING: Final = re.compile(r"required field `(\w+)`")
_PLACE: Final = re.compile(r" - at `\$\.?([^`]*)`\Z")


def read_line(data: bytes, endpoint: Endpoint, read: ReadRequest) -> Asked:
    """Read one line as a request to `endpoint`. Raises: LineRefused."""
    shape = _shape_of(data)
    if not 0 < len(shape.custom_id) <= MAX_CUSTOM_ID or "\0" in shape.custom_id:
        message = f"'custom_id' is 1 to {MAX_CUSTOM_ID} characters."
        raise LineRefused("invalid_request", message, "custom_id")
    if shape.method != "POST":
        raise LineRefused("invalid_request", "'method' is POST.", "method")
    if shape.url != endpoint:
        message = f"'url' is that of the batch, {endpoint}."
        raise LineRefused("url_mismatch", message, "url")
    reading = read(ROUTES[endpoint], bytes(shape.body))
    if reading.stream:
        raise LineRefused("invalid_request", "A batch does not stream.", "body.stream")
    return Asked(shape.custom_id, reading)


def _shape_of(data: bytes) -> _Shape:
    try:
        return _decoder.decode(data)
    except msgspec.ValidationError as error:
        missing, place = _MISSING.search(str(error)), _PLACE.search(str(error))
        param = missing[1] if missing else place[1] if place else None
        raise LineRefused("invalid_request", str(error)[:200], param) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise LineRefused("invalid_json_line", "This line is not JSON in UTF-8.") from None


class LineSplitter:
    """Cut a file into its lines, whatever the pieces are that it comes in.

    Lines of white space alone are counted and passed over. Of a line that is too long nothing is
    held. A splitter may begin in the middle of a file, behind line `number`.
    """

    def __init__(self, longest: int, number: int = 0, offset: int = 0) -> None:
        self._longest = longest
        self._number = number
        self._offset = offset  # of what is held
        self._held = bytearray()
        self._passed = 0  # bytes of a line that is too long, not held any more

    def feed(self, piece: bytes) -> Iterator[Line]:
        """Give the lines that end in this piece."""
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            yield from self._ended(piece[start:end])
            self._offset += 1
            start = end + 1
        self._hold(piece[start:])

    def finish(self) -> Iterator[Line]:
        """Give the last line, if the file does not end with its end."""
        yield from self._ended(b"")

    def _hold(self, rest: bytes) -> None:
        self._held += rest
        if self._passed or len(self._held) > self._longest:
            self._passed += len(self._held)
            self._held.clear()

    def _ended(self, rest: bytes) -> Iterator[Line]:
        self._hold(rest)
        data, length = bytes(self._held), self._passed + len(self._held)
        offset, number = self._offset, self._number + 1
        is_long = self._passed > 0
        self._held.clear()
        self._passed, self._offset, self._number = 0, offset + length, number
        if number == 1 and data.startswith(_BOM):
            data, offset = data.removeprefix(_BOM), offset + len(_BOM)
        if is_long or (data and not data.isspace()):
            yield Line(number, offset, None if is_long else data)


__all__ = ["MAX_CUSTOM_ID", "Asked", "Line", "LineSplitter", "ReadRequest", "Reading", "read_line"]
