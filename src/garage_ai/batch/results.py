"""Lines of output and error files, as OpenAI writes them."""

import hashlib
from typing import Final

import msgspec

from garage_ai.batch.models import BatchId

_encoder: Final = msgspec.json.Encoder()

_BREAKS: Final = {text.encode(): f"\\u{ord(text):04x}".encode() for text in "\x85\u2028\u2029"}
"""What ends a line for readers of text, such as Python's, beside what ends one of JSON Lines."""


class _Failure(msgspec.Struct):
    code: str
    message: str


class _Response(msgspec.Struct):
    status_code: int
    request_id: str
    body: msgspec.Raw


class _Result(msgspec.Struct):
    id: str
    custom_id: str
    response: _Response | None
    error: _Failure | None


def result_id(batch: BatchId, line: int) -> str:
    """Name an item: always the same for the same line of a batch."""
    digest = hashlib.blake2b(f"{batch}/{line}".encode(), digest_size=16)
    return f"batch_req_{digest.hexdigest()}"


def answered(
    batch: BatchId, line: int, custom_id: str, *, status: int, request_id: str, body: bytes
) -> bytes:
    """Write what an item was answered, a failure's envelope too; `body` is JSON."""
    # A line is a line: where an engine's JSON is spread over several, it is written anew.
    flat = body if b"\n" not in body and b"\r" not in body else _flat(body)
    response = _Response(status, request_id, msgspec.Raw(flat))
    return _line(_Result(result_id(batch, line), custom_id, response, None))


def unanswered(batch: BatchId, line: int, custom_id: str, code: str, message: str) -> bytes:
    """Write that an item was never answered, and why."""
    return _line(_Result(result_id(batch, line), custom_id, None, _Failure(code, message)))


def _flat(body: bytes) -> bytes:
    return _encoder.encode(msgspec.json.decode(body))


def _line(result: _Result) -> bytes:
    line = _encoder.encode(result)
    if not line.isascii():
        for ends, escape in _BREAKS.items():
            line = line.replace(ends, escape)
    return line + b"\n"


__all__ = ["answered", "result_id", "unanswered"]
