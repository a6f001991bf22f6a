"""A whole log in a file: one JSON object a line, the newest signed head first. Pure.

{"head": {"size": …, "root": …, "at": …, "public_key": …, "signature": …}}, or null
{"seq": 1, "at": …, "action": …, …, "hash": …}
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from garage_ai.audit.chain import written
from garage_ai.audit.errors import BadExport
from garage_ai.audit.models import Head, Noted, Recorded


@dataclass(frozen=True, slots=True)
class Export:
    """A log with its newest head."""

    head: Head | None
    entries: tuple[Recorded, ...]

    def lines(self) -> Iterator[bytes]:
        """Write it, line by line."""
        head = None if self.head is None else _plain(self.head)
        yield msgspec.json.encode({"head": head}) + b"\n"
        for entry in self.entries:
            yield msgspec.json.encode(_plain(entry)) + b"\n"


def read_export(text: bytes) -> Export:
    """Read a file. Raises: BadExport."""
    first, *rest = text.splitlines() or [b""]
    head = _object(first, 1).get("head", ...)
    if head is not None and not isinstance(head, dict):
        raise BadExport("line 1 holds no head")
    entries = (recorded(**_object(line, number)) for number, line in enumerate(rest, 2) if line)
    return Export(None if head is None else head_of(**head), tuple(entries))


def recorded(**fields: Any) -> Recorded:
    """Make an entry of what JSON holds of it. Raises: BadExport."""
    try:
        at, stored = datetime.fromisoformat(fields["at"]), bytes.fromhex(fields["hash"])
        return Recorded(**fields | {"seq": _number(fields["seq"]), "at": at, "hash": stored})
    except (KeyError, TypeError, ValueError) as error:
        raise BadExport(f"no entry: {error}") from error


def head_of(**fields: Any) -> Head:
    """Make a head of what JSON holds of it. Raises: BadExport."""
    try:
        at, root = datetime.fromisoformat(fields["at"]), bytes.fromhex(fields["root"])
        size, signature = _number(fields["size"]), bytes.fromhex(fields["signature"])
        return Head(**fields | {"size": size, "at": at, "root": root, "signature": signature})
    except (KeyError, TypeError, ValueError) as error:
        raise BadExport(f"no head: {error}") from error


def noted_head(text: str | bytes) -> Noted:
    """Read a head as somebody noted it: alone, or with a log behind it. Raises: BadExport.

    Whoever noted it trusts it: size and root are enough, as the gateway's own log tells them.
    """
    whole = text.encode(errors="replace") if isinstance(text, str) else text
    try:
        found = _object(whole, 1)
    except BadExport:  # an export, of which the first line holds the head
        found = _object((whole.splitlines() or [b""])[0], 1)
    found = found.get("head", found)
    try:
        noted = Noted(int(found["size"]), bytes.fromhex(found["root"]), found.get("public_key"))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadExport(f"no head: {error}") from error
    if noted.size < 1:
        raise BadExport("no head: over nothing")
    return noted


def _number(value: object) -> int:
    if type(value) is not int:
        raise TypeError("a number that is none")
    return value


def _object(line: bytes, number: int) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadExport(f"line {number} is no JSON object") from error


def _plain(shown: Recorded | Head) -> dict[str, object]:
    fields = {name: getattr(shown, name) for name in shown.__dataclass_fields__}
    return {name: _text(value) for name, value in fields.items()}


def _text(value: object) -> object:
    match value:
        case bytes():
            return value.hex()
        case datetime():
            return written(value)
        case _:
            return value


__all__ = ["Export", "head_of", "noted_head", "read_export", "recorded"]
