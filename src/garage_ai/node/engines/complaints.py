"""What llama.cpp calls a failure of its own, though the request is to blame. Pure.

It answers 500 to what it does not support or cannot parse, and quotes the request: its words are
told apart by how they begin, and said anew without the quotation.
"""

from typing import Final

import msgspec

_KNOWN: Final = (
    ("image input is not supported", "this model takes no images"),
    ("audio input is not supported", "this model takes no audio"),
    ("video input is not supported", "this model takes no video"),
    (
        "Failed to parse tools: Unsupported tool type",
        "tools of another type than function are not supported",
    ),
    ("Failed to parse tools", "the tools cannot be read"),
    (
        "Failed to parse messages: Unsupported tool call type",
        "tool calls of another type than function are not supported",
    ),
    ("Failed to parse messages", "the messages cannot be read"),
)


class _Error(msgspec.Struct, frozen=True):
    message: str = ""


class _Envelope(msgspec.Struct, frozen=True):
    error: _Error = _Error()


_envelopes: Final = msgspec.json.Decoder(_Envelope)
_encoder: Final = msgspec.json.Encoder()
_UNDECODABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


def rejection(body: bytes) -> bytes | None:
    """Give the answer that a request deserves which llama.cpp failed at; None where it is ill."""
    try:
        said = _envelopes.decode(body).error.message
    except _UNDECODABLE:
        return None
    for beginning, meaning in _KNOWN:
        if said.startswith(beginning):
            error = {"code": 400, "message": meaning, "type": "invalid_request_error"}
            return _encoder.encode({"error": error})
    return None


__all__ = ["rejection"]
