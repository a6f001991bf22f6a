"""Reading what an engine says is wrong: its error answers, whatever shape they have. Pure."""

from dataclasses import dataclass
from typing import Final, Literal

import msgspec

UNDECODABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
"""What decoding a node's bytes may raise."""


class _ErrorBody(msgspec.Struct, frozen=True):
    message: str = ""
    type: str | None = None
    code: str | int | None = None


class _ErrorEnvelope(msgspec.Struct, frozen=True):
    error: _ErrorBody | str | None = None
    message: str = ""


_errors: Final = msgspec.json.Decoder(_ErrorEnvelope)


@dataclass(frozen=True, slots=True)
class EngineComplaint:
    """An engine's error answer, cut to what may be shown."""

    message: str
    kind: Literal["context", "other"]


def error_message(body: bytes) -> str:
    """Read an engine's error text, at most 500 characters, whatever shape it has."""
    try:
        envelope = _errors.decode(body)
    except UNDECODABLE:
        return ""
    inner = envelope.error
    if isinstance(inner, _ErrorBody):
        return _printable(inner.message)
    return _printable(inner or envelope.message)


def complaint(body: bytes) -> EngineComplaint:
    """Tell what an engine's 4xx answer is about."""
    message = error_message(body)
    lowered = message.lower()
    about_context = "context" in lowered and any(
        word in lowered for word in ("length", "size", "exceed", "tokens", "window")
    )
    return EngineComplaint(message, "context" if about_context else "other")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:500])
