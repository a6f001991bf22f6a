"""What a node changes in a request (the model's name becomes the engine's own) and reads. Pure.

For an engine whose cache all members share, the salt of the one who asks is set besides.
"""

import re
from typing import Final

import msgspec

from garage_ai.node.errors import EngineProtocol
from garage_ai.wire.frames import Priority

# Values stay as they are (`Raw` is checked, not built), so this costs microseconds; msgspec
# bounds the depth, and a key said twice is said once afterwards.
_objects: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder: Final = msgspec.json.Encoder()
_UNDECODABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
_BEHIND: Final = msgspec.Raw(b"1")  # chat has vLLM's default, 0; lower goes first
_ASKED_WITH: Final = frozenset({"messages", "input", "prompt"})
_TEXTS: Final = frozenset({"text", "refusal", "name", "reasoning", "reasoning_content"})
_CALLS: Final = frozenset({"tool_calls", "tool_call_id", "function_call"})
_MEDIA_SIGNS: Final = (b"image", b"audio", b"video", b"file", b'"url"', b"\\u")
_OTHER_SCHEME: Final = re.compile(r"\s*(?!data:)[A-Za-z][A-Za-z0-9+.-]{0,31}:")
_STREAMED: Final = {
    "stream": msgspec.Raw(b"true"),
    "stream_options": msgspec.Raw(b'{"include_usage":true}'),
}


def with_model(body: bytes, engine_name: str) -> bytes:
    """Put the engine's name for the model into a request body.

    Raises: EngineProtocol if the body is no JSON object.
    """
    fields = _fields(body)
    fields["model"] = msgspec.Raw(_encoder.encode(engine_name))
    return _encoder.encode(fields)


def salted(body: bytes, engine_name: str, salt: str, priority: Priority = "chat") -> bytes:
    """Put the engine's name for the model and the cache's salt into a request body.

    Whatever salt was there is gone. A batch request is marked as what vLLM serves behind others.
    Raises: EngineProtocol if the body is no JSON object.
    """
    fields = _fields(body)
    fields["model"] = msgspec.Raw(_encoder.encode(engine_name))
    fields["cache_salt"] = msgspec.Raw(_encoder.encode(salt))
    if priority == "batch":
        fields["priority"] = _BEHIND
    return _encoder.encode(fields)


def streamed(body: bytes) -> bytes:
    """Ask for the same answer as a stream with usage at its end.

    Raises: EngineProtocol if the body is no JSON object.
    """
    return _encoder.encode(_fields(body) | _STREAMED)


class Asked(msgspec.Struct, frozen=True):
    """How much is asked for: `n` choices for each prompt."""

    n: int | None = None
    prompt: msgspec.Raw = msgspec.Raw()

    @property
    def choices(self) -> int:
        """Choices for each prompt."""
        return max(1, self.n or 1)

    @property
    def several(self) -> bool:
        """Whether more than one choice may come; a list may be of prompts or of tokens."""
        return self.choices > 1 or bytes(self.prompt).startswith(b"[")


_asked: Final = msgspec.json.Decoder(Asked)


def asked(body: bytes) -> Asked:
    """Read how much a request asks for; what cannot be read the engine will refuse."""
    try:
        return _asked.decode(body)
    except _UNDECODABLE:
        return Asked()


def with_own_media(body: bytes) -> bytes | None:
    """Give a request that has its engine fetch nothing; None for one that would.

    Gateways let through `data:` alone, but of the owner's own server a hostile one could fetch what
    only his network reaches. A key said twice in what was looked at is said once afterwards.
    Raises: EngineProtocol if the body is no JSON object.
    """
    lowered = body.lower()
    # An escape may hide the words; servers written in Go take keys in any case.
    if not any(sign in lowered for sign in _MEDIA_SIGNS):
        return body
    fields = _fields(body)
    try:
        for name in fields:
            if name.lower() in _ASKED_WITH:
                value = msgspec.json.decode(fields[name])
                if _has_fetched(value):
                    return None
                fields[name] = msgspec.Raw(_encoder.encode(value))
    except _UNDECODABLE as error:
        raise EngineProtocol(f"the request cannot be read: {str(error)[:100]}") from error
    return _encoder.encode(fields)


def _has_fetched(value: object) -> bool:
    """Tell whether anything but text names what is to be fetched: an address, or a file's id."""
    parts = value if isinstance(value, list) else [value]
    return any(_names_address(part) for part in parts if not isinstance(part, str))


def _names_address(part: object) -> bool:
    if isinstance(part, str):
        return _OTHER_SCHEME.match(part) is not None
    if isinstance(part, list):
        return any(map(_names_address, part))
    if not isinstance(part, dict):
        return False
    for name, value in part.items():
        key = name.lower()
        if key in _CALLS:
            continue
        if key == "content":
            found = _has_fetched(value)
        elif key == "file_id":
            found = value is not None
        else:
            found = not (key in _TEXTS and isinstance(value, str)) and _names_address(value)
        if found:
            return True
    return False


def _fields(body: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _objects.decode(body)
    except _UNDECODABLE as error:
        raise EngineProtocol(f"the request is no JSON object: {str(error)[:100]}") from error


__all__ = ["Asked", "asked", "salted", "streamed", "with_model", "with_own_media"]
